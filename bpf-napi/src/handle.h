// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

namespace bpf_napi {

/**
 * A kernel resource that is closed exactly once, either by its owner or by the destructor. Node runs the destructor
 * when the JavaScript object is collected or its environment (thread) ends. While another thread works with the
 * handle, it is busy. A close that is requested meanwhile is carried out by that thread when it has finished.
 */
class Handle {
 public:
  virtual ~Handle() = default;

  /** Closes the handle now, or when the current work is finished. May be called more than once. */
  void Close() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (closed_) return;
      closed_ = true;
      if (busy_) return;
    }
    Release();
  }

  bool closed() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return closed_;
  }

  bool busy() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return busy_;
  }

  /** Returns false if the handle is closed or already busy. */
  bool BeginWork() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_ || busy_) return false;
    busy_ = true;
    return true;
  }

  /** Marks the handle as idle. Frees all resources if the handle was closed meanwhile. */
  void EndWork() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      busy_ = false;
      if (!closed_) return;
    }
    Release();
  }

 protected:
  /** Frees all resources. Called once. */
  virtual void Release() = 0;

 private:
  mutable std::mutex mutex_;
  bool busy_ = false;
  bool closed_ = false;
};

}  // namespace bpf_napi
