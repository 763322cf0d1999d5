// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/libbpf.h>
#include <napi.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "error.h"
#include "handle.h"

namespace bpf_napi {

/** One instance of a BPF object file, with its maps, programs and links. */
class ObjectHandle final : public Handle {
 public:
  ObjectHandle(bpf_object* object, std::string name) : object_(object), name_(std::move(name)) {}

  /** Nobody holds the handle any more, so no work is in flight either. */
  ~ObjectHandle() override {
    if (object_ != nullptr) Release();
  }

  bpf_object* object() const { return object_; }
  const std::string& name() const { return name_; }
  const std::vector<bpf_map*>& maps() const { return maps_; }
  const std::vector<bpf_program*>& programs() const { return programs_; }
  void Index();

  void AddLink(bpf_link* link) { links_.push_back(link); }
  void Detach();

  /** The map's memory, mapped on first use; nullptr with errno set where that fails. */
  const void* Mapped(size_t map, size_t bytes);

 protected:
  void Release() final;

 private:
  struct Mapping {
    void* address;
    size_t bytes;
  };

  bpf_object* object_;
  std::string name_;
  std::vector<bpf_map*> maps_;
  std::vector<bpf_program*> programs_;
  std::vector<bpf_link*> links_;
  std::unordered_map<size_t, Mapping> mappings_;
};

/** The JavaScript face of an ObjectHandle. */
class BpfObjectWrap : public Napi::ObjectWrap<BpfObjectWrap> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit BpfObjectWrap(const Napi::CallbackInfo& info);

  const std::shared_ptr<ObjectHandle>& handle() const { return handle_; }

  /** The handle of an object that is open and idle, or throws. */
  ObjectHandle& Open(Napi::Env env, const char* operation) const;

 private:
  Napi::Value Programs(const Napi::CallbackInfo& info);
  Napi::Value Maps(const Napi::CallbackInfo& info);
  void SetAutoload(const Napi::CallbackInfo& info);
  void SetAutocreate(const Napi::CallbackInfo& info);
  void SetMaxEntries(const Napi::CallbackInfo& info);
  void SetConstant(const Napi::CallbackInfo& info);
  Napi::Value Load(const Napi::CallbackInfo& info);
  Napi::Value Attach(const Napi::CallbackInfo& info);
  void Detach(const Napi::CallbackInfo& info);
  Napi::Value Run(const Napi::CallbackInfo& info);
  Napi::Value ProgramInfo(const Napi::CallbackInfo& info);
  Napi::Value MapFd(const Napi::CallbackInfo& info);
  Napi::Value Lookup(const Napi::CallbackInfo& info);
  void Update(const Napi::CallbackInfo& info);
  Napi::Value Delete(const Napi::CallbackInfo& info);
  Napi::Value Dump(const Napi::CallbackInfo& info);
  void ReadMapped(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::shared_ptr<ObjectHandle> handle_;
};

/** Opens the object file at `path`; the promise gives a BpfObjectWrap. */
Napi::Value OpenObject(const Napi::CallbackInfo& info);

}  // namespace bpf_napi
