// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <string>

namespace bpf_napi {

/** ENOTSUPP of the kernel, for which user space has no name. */
constexpr int kKernelNotSupported = 524;

/** An error in the one form that lib/errors.ts converts into a BpfError. */
struct Failure {
  std::string operation;  // "open", "load", "attach", ...
  int error = 0;          // errno, positive; 0 where there is none
  std::string subject;    // object, program, map or path
  std::string log;        // what libbpf and the verifier said, whole

  bool failed() const { return !operation.empty(); }
};

Napi::Error ToError(Napi::Env env, const Failure& failure);

[[noreturn]] void Throw(Napi::Env env, std::string operation, int error, std::string subject, std::string log = {});

/** Captures what libbpf prints on this thread while it lives. Captures do not nest. */
class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/** Sends libbpf's messages to the capture of the thread that caused them; messages without a capture are dropped. */
void RedirectLibbpfLog();

}  // namespace bpf_napi
