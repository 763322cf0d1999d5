// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

namespace bpf_napi {

/**
 * A kernel resource that must be closed once: by its owner, or else by the destructor, which Node runs when the
 * JavaScript object is collected or its environment (a thread's) ends. Work that runs on another thread keeps a handle
 * busy; that thread carries out a close that was requested meanwhile when it is done.
 */
class Handle {
 public:
  virtual ~Handle() = default;

  /** Closes now, or as soon as the work in flight is done. It may be called twice. */
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

  /** Frees everything if the handle was closed meanwhile. */
  void EndWork() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      busy_ = false;
      if (!closed_) return;
    }
    Release();
  }

 protected:
  /** Frees everything. Called once. */
  virtual void Release() = 0;

 private:
  mutable std::mutex mutex_;
  bool busy_ = false;
  bool closed_ = false;
};

}  // namespace bpf_napi
