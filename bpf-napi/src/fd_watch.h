// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace bpf_napi {

/**
 * Calls a JavaScript function in each turn of this thread's event loop in which a descriptor is readable. Does not keep
 * the event loop running. Stops when the thread ends.
 */
class FdWatch {
 public:
  FdWatch() = default;
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;
  ~FdWatch() { Stop(); }

  /** Starts watching; returns 0 or an errno. The descriptor must remain open until `Stop`. */
  int Start(Napi::Env env, int fd, Napi::Function call);

  /** Stops watching. May be called repeatedly. */
  void Stop();

 private:
  struct Poll;
  Poll* poll_ = nullptr;
};

}  // namespace bpf_napi
