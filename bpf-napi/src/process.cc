// SPDX-License-Identifier: Apache-2.0
#include <napi.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "addon.h"
#include "error.h"

namespace bpf_napi {

namespace {

/** Runs flock(2) in libuv's pool because an unresponsive file system must not block the event loop. */
class LockWorker final : public Napi::AsyncWorker {
 public:
  LockWorker(Napi::Env env, int fd) : AsyncWorker(env), deferred_(env), fd_(fd) {}

  Napi::Promise Start() {
    Napi::Promise promise = deferred_.Promise();
    Queue();
    return promise;
  }

 protected:
  void Execute() final {
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0) error_ = errno;
  }

  void OnOK() final {
    if (error_ == 0 || error_ == EWOULDBLOCK) {
      deferred_.Resolve(Napi::Boolean::New(Env(), error_ == 0));
    } else {
      deferred_.Reject(ToError(Env(), {"lock", error_, "a file", ""}).Value());
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  int fd_;
  int error_ = 0;
};

/**
 * Tries to acquire the lock; returns whether it succeeded. The lock is released when the last descriptor of the open
 * file is closed, or when the process ends.
 */
Napi::Value TryLock(const Napi::CallbackInfo& info) {
  auto* worker = new LockWorker(info.Env(), info[0].As<Napi::Number>().Int32Value());
  return worker->Start();
}

/** Ends the process. Unlike exit(3), does not wait for other threads. */
void ExitNow(const Napi::CallbackInfo& info) { _exit(info[0].As<Napi::Number>().Int32Value()); }

}  // namespace

void InitProcess(Napi::Env env, Napi::Object exports) {
  exports.Set("tryLock", Napi::Function::New<TryLock>(env, "tryLock"));
  exports.Set("exitNow", Napi::Function::New<ExitNow>(env, "exitNow"));
}

}  // namespace bpf_napi
