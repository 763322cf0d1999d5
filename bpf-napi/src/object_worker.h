// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "error.h"
#include "object_handle.h"

namespace bpf_napi {

/** Runs a blocking step of an object on libuv's pool and settles a promise with its outcome. */
class ObjectWorker : public Napi::AsyncWorker {
 public:
  /** Expects a busy handle, by its `BeginWork`. */
  ObjectWorker(Napi::Env env, std::shared_ptr<ObjectHandle> handle)
      : AsyncWorker(env), deferred_(env), handle_(std::move(handle)) {}

  /** Starts the work; the worker deletes itself at its end. */
  Napi::Promise Start() {
    Napi::Promise promise = deferred_.Promise();
    Queue();
    return promise;
  }

 protected:
  /** Runs the step on a thread of the pool. */
  virtual Failure Step(ObjectHandle& handle) = 0;

  /** Returns the value to which the promise resolves. */
  virtual Napi::Value Result(Napi::Env env) { return env.Undefined(); }

  void Execute() final {
    failure_ = Step(*handle_);
    handle_->EndWork();
  }

  void OnOK() final {
    // This also covers a close after the step: code that sees the promise resolve may use the object.
    if (handle_->closed() && !failure_.failed()) failure_ = {"use", EBADF, handle_->name(), "closed meanwhile"};
    if (failure_.failed()) {
      deferred_.Reject(ToError(Env(), failure_).Value());
    } else {
      deferred_.Resolve(Result(Env()));
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<ObjectHandle> handle_;
  Failure failure_;
};

}  // namespace bpf_napi
