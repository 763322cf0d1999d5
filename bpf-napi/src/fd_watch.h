// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace bpf_napi {

/**
 * Calls a JavaScript function in each turn of this thread's event loop in which a descriptor is readable. Does not keep
 * the event loop alive. Stops when the thread ends.
 */
class FdWatch {
 public:
  FdWatch() = default;
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;
  ~FdWatch() { Stop(); }

  /** Starts watching. Returns 0 or an errno. The descriptor must stay open until `Stop`. */
  int Start(Napi::Env env, int fd, Napi::Function call);

  /** Stops calling the function. May be called more than once. */
  void Stop();

 private:
  struct Poll;
  Poll* poll_ = nullptr;
};

}  // namespace bpf_napi
