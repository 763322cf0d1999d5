// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>

#include "object_handle.h"

namespace bpf_napi {

/** The JavaScript interface of an ObjectHandle. */
class BpfObjectWrap : public Napi::ObjectWrap<BpfObjectWrap> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit BpfObjectWrap(const Napi::CallbackInfo& info);

  const std::shared_ptr<ObjectHandle>& handle() const { return handle_; }

  /** Returns the handle if it is open and idle, otherwise throws. */
  ObjectHandle& Open(Napi::Env env, const char* operation) const;

  /** Returns the handle if it is open and no load is in progress, otherwise throws. */
  ObjectHandle& OpenForUse(Napi::Env env, const char* operation) const;

 private:
  Napi::Value Programs(const Napi::CallbackInfo& info);
  Napi::Value Maps(const Napi::CallbackInfo& info);
  void SetAutoload(const Napi::CallbackInfo& info);
  void SetAutocreate(const Napi::CallbackInfo& info);
  void SetMaxEntries(const Napi::CallbackInfo& info);
  void SetOnDemand(const Napi::CallbackInfo& info);
  void SetVariable(const Napi::CallbackInfo& info);
  Napi::Value ReuseMap(const Napi::CallbackInfo& info);
  Napi::Value Load(const Napi::CallbackInfo& info);
  Napi::Value Attach(const Napi::CallbackInfo& info);
  Napi::Value AttachCgroup(const Napi::CallbackInfo& info);
  Napi::Value Plug(const Napi::CallbackInfo& info);
  void DetachOne(const Napi::CallbackInfo& info);
  void Detach(const Napi::CallbackInfo& info);
  Napi::Value Run(const Napi::CallbackInfo& info);
  Napi::Value RunPacket(const Napi::CallbackInfo& info);
  Napi::Value ReadIterator(const Napi::CallbackInfo& info);
  Napi::Value ReadIteratorAsync(const Napi::CallbackInfo& info);
  Napi::Value ProgramInfo(const Napi::CallbackInfo& info);
  Napi::Value MapFd(const Napi::CallbackInfo& info);
  Napi::Value Lookup(const Napi::CallbackInfo& info);
  void Update(const Napi::CallbackInfo& info);
  Napi::Value Delete(const Napi::CallbackInfo& info);
  Napi::Value Dump(const Napi::CallbackInfo& info);
  void ReadMapped(const Napi::CallbackInfo& info);
  void WriteMapped(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::shared_ptr<ObjectHandle> handle_;
};

/** Opens the object file at `path`. The promise resolves to a BpfObjectWrap. */
Napi::Value OpenObject(const Napi::CallbackInfo& info);

}  // namespace bpf_napi
