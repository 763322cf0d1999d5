// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>

namespace bpf_napi {

namespace {

thread_local std::string* captured = nullptr;

// The kernel allows 16 MiB for the verifier log of a program, but 1 MiB is enough.
constexpr size_t kLogBytesMax = 1 << 20;

int Print(enum libbpf_print_level level, const char* format, va_list arguments) {
  if (captured == nullptr || level == LIBBPF_DEBUG || captured->size() >= kLogBytesMax) return 0;
  va_list again;
  va_copy(again, arguments);
  const int length = vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (length <= 0) return 0;
  const size_t start = captured->size();
  captured->resize(start + length + 1);
  vsnprintf(&(*captured)[start], length + 1, format, arguments);
  captured->resize(start + length);
  return length;
}

}  // namespace

void RedirectLibbpfLog() { libbpf_set_print(Print); }

LogCapture::LogCapture() { captured = &text_; }

LogCapture::~LogCapture() { captured = nullptr; }

Napi::Error ToError(Napi::Env env, const Failure& failure) {
  const int code = failure.error == kKernelNotSupported ? EOPNOTSUPP : failure.error;
  char reason[128] = "unknown error";
  if (code != 0) libbpf_strerror(code, reason, sizeof(reason));
  Napi::Error error = Napi::Error::New(env, failure.operation + " " + failure.subject + ": " + reason);
  error.Set("operation", Napi::String::New(env, failure.operation));
  // libbpf has error codes of its own, which are not errnos and are above the kernel's codes.
  error.Set("errno", Napi::Number::New(env, code < __LIBBPF_ERRNO__START ? code : 0));
  error.Set("subject", Napi::String::New(env, failure.subject));
  error.Set("log", Napi::String::New(env, failure.log));
  return error;
}

void Throw(Napi::Env env, std::string operation, int error, std::string subject, std::string log) {
  throw ToError(env, {std::move(operation), error, std::move(subject), std::move(log)});
}

}  // namespace bpf_napi
