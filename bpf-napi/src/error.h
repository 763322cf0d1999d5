// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <string>

namespace bpf_napi {

/** The kernel's ENOTSUPP, which is not defined in user space headers. */
constexpr int kKernelNotSupported = 524;

/** An error in the form that lib/errors.ts converts to a BpfError. */
struct Failure {
  std::string operation;  // "open", "load", "attach", ...
  int error = 0;          // positive errno; 0 if there is none
  std::string subject;    // object, program, map or path
  std::string log;        // complete output of libbpf and the verifier

  bool failed() const { return !operation.empty(); }
};

Napi::Error ToError(Napi::Env env, const Failure& failure);

[[noreturn]] void Throw(Napi::Env env, std::string operation, int error, std::string subject, std::string log = {});

/** Captures libbpf's messages on this thread while the object exists. Captures must not be nested. */
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

/** Redirects libbpf's messages to the current thread's capture. Messages are discarded if there is none. */
void RedirectLibbpfLog();

}  // namespace bpf_napi
