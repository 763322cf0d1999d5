// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

namespace bpf_napi {

/**
 * A kernel resource that is released exactly once, by `Close` or by the destructor. Node runs the destructor when the
 * JavaScript object is garbage collected or its environment (thread) ends. While another thread uses the resource, the
 * handle is busy. If the handle is closed during that time, the other thread releases the resource when it has
 * finished.
 */
class Handle {
 public:
  virtual ~Handle() = default;

  /** Closes the handle now, or as soon as it is no longer busy. May be called repeatedly. */
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

  /** Marks the handle as busy; returns false if it is closed or already busy. */
  bool BeginWork() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_ || busy_) return false;
    busy_ = true;
    return true;
  }

  /** Marks the handle as idle. Releases the resource if the handle was closed while it was busy. */
  void EndWork() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      busy_ = false;
      if (!closed_) return;
    }
    Release();
  }

 protected:
  /** Releases the resource. Called exactly once. */
  virtual void Release() = 0;

 private:
  mutable std::mutex mutex_;
  bool busy_ = false;
  bool closed_ = false;
};

}  // namespace bpf_napi
