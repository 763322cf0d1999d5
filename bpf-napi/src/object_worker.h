// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "error.h"
#include "object_handle.h"

namespace bpf_napi {

/** Runs a blocking operation on an object in libuv's pool and settles a promise with its result. */
class ObjectWorker : public Napi::AsyncWorker {
 public:
  /** @param handle handle that the caller has marked as busy with `BeginWork` */
  ObjectWorker(Napi::Env env, std::shared_ptr<ObjectHandle> handle)
      : AsyncWorker(env), deferred_(env), handle_(std::move(handle)) {}

  /** Starts the operation. The worker deletes itself when it has finished. */
  Napi::Promise Start() {
    Napi::Promise promise = deferred_.Promise();
    Queue();
    return promise;
  }

 protected:
  /** Runs the operation on a pool thread. */
  virtual Failure Step(ObjectHandle& handle) = 0;

  /** Returns the value with which the promise is resolved. */
  virtual Napi::Value Result(Napi::Env env) { return env.Undefined(); }

  void Execute() final {
    failure_ = Step(*handle_);
    handle_->EndWork();
  }

  void OnOK() final {
    // Reject if the object was closed during the operation, because code that awaits the promise may use the object.
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
