// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>
#include <mutex>
#include <vector>

namespace bpf_napi {

/**
 * Something of the kernel that must be closed once: by its owner, or else when the JavaScript
 * environment (a thread's) ends. Work that runs on another thread keeps a handle busy; a close that comes
 * meanwhile is done by that thread when it is through.
 */
class Handle {
 public:
  virtual ~Handle() = default;

  /** Closes now, or as soon as the work in flight is done. Twice is as good as once. */
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

  /** False where the handle is closed or already busy. */
  bool BeginWork() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_ || busy_) return false;
    busy_ = true;
    return true;
  }

  /** False where the handle was closed meanwhile, and now is. */
  bool EndWork() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      busy_ = false;
      if (!closed_) return true;
    }
    Release();
    return false;
  }

 protected:
  /** Frees everything. Called once. */
  virtual void Release() = 0;

 private:
  mutable std::mutex mutex_;
  bool busy_ = false;
  bool closed_ = false;
};

/** The open handles of one environment, closed when it ends: at exit, and when a worker thread is terminated. */
class HandleTable {
 public:
  void Add(const std::shared_ptr<Handle>& handle) {
    if (handles_.size() >= sweep_at_) Sweep();
    handles_.push_back(handle);
  }

  ~HandleTable() {
    for (auto& weak : handles_) {
      if (auto handle = weak.lock()) handle->Close();
    }
  }

 private:
  void Sweep() {
    std::vector<std::weak_ptr<Handle>> open;
    for (auto& weak : handles_) {
      if (auto handle = weak.lock(); handle && !handle->closed()) open.push_back(weak);
    }
    handles_ = std::move(open);
    sweep_at_ = 2 * handles_.size() + 16;
  }

  std::vector<std::weak_ptr<Handle>> handles_;
  size_t sweep_at_ = 16;
};

}  // namespace bpf_napi
