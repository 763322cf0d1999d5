// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <bpf/bpf.h>
#include <malloc.h>

#include <cerrno>
#include <cstring>

#include "addon.h"
#include "arguments.h"
#include "error.h"
#include "kernel_types.h"
#include "object_worker.h"

namespace bpf_napi {

namespace {

class OpenWorker : public Napi::AsyncWorker {
 public:
  OpenWorker(Napi::Env env, std::string path) : AsyncWorker(env), deferred_(env), path_(std::move(path)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    LogCapture log;
    RegisterTargets();
    std::unique_ptr<KernelTypes> types = KernelTypes::Find(path_);
    const std::string types_path = types == nullptr ? "" : types->path();
    LIBBPF_OPTS(bpf_object_open_opts, options, .btf_custom_path = types == nullptr ? nullptr : types_path.c_str());
    bpf_object* object = bpf_object__open_file(path_.c_str(), &options);
    if (object == nullptr) {
      failure_ = {"open", errno, path_, log.take()};
      return;
    }
    handle_ = std::make_shared<ObjectHandle>(object, bpf_object__name(object), std::move(types));
    handle_->Index();
  }

  void OnOK() override {
    Napi::Env env = Env();
    if (failure_.failed()) {
      deferred_.Reject(ToError(env, failure_).Value());
      return;
    }
    auto external = Napi::External<std::shared_ptr<ObjectHandle>>::New(env, &handle_);
    deferred_.Resolve(env.GetInstanceData<AddonData>()->object_class.New({external}));
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::string path_;
  std::shared_ptr<ObjectHandle> handle_;
  Failure failure_;
};

/**
 * If the kernel itself lacks a type or function, libbpf searches the kernel's modules, once per object. Before libbpf
 * 1.3, loading fails if this search is not permitted (CAP_SYS_ADMIN). To avoid this failure, this function triggers the
 * search in advance and ignores its result.
 */
void SkipModules(bpf_object* object) {
  __u32 id = 0;
  if (bpf_btf_get_next_id(0, &id) != -EPERM) return;
  bpf_program* any = bpf_object__next_program(object, nullptr);
  if (any != nullptr) bpf_program__set_attach_target(any, 0, "no such function");
}

class LoadWorker final : public ObjectWorker {
 public:
  using ObjectWorker::ObjectWorker;

 protected:
  Failure Step(ObjectHandle& handle) override {
    const std::unique_ptr<KernelTypes> types = handle.TakeTypes();
    if (types == nullptr) SkipModules(handle.object());
    LogCapture log;
    handle.BeginLoad();
    std::string reason;
    const int error = LoadWith(handle.object(), types.get(), reason);
    // libbpf has just parsed and freed about 10 MB of kernel BTF. Without trimming, the pool thread's arena would
    // retain this memory.
    malloc_trim(0);
    return error == 0 ? Failure{} : Failure{"load", -error, handle.name(), reason + log.take()};
  }
};

}  // namespace

Napi::Function BpfObjectWrap::Define(Napi::Env env) {
  return DefineClass(env, "NativeObject",
                     {InstanceMethod<&BpfObjectWrap::Programs>("programs"),
                      InstanceMethod<&BpfObjectWrap::Maps>("maps"),
                      InstanceMethod<&BpfObjectWrap::SetAutoload>("setAutoload"),
                      InstanceMethod<&BpfObjectWrap::SetAutocreate>("setAutocreate"),
                      InstanceMethod<&BpfObjectWrap::SetMaxEntries>("setMaxEntries"),
                      InstanceMethod<&BpfObjectWrap::SetOnDemand>("setOnDemand"),
                      InstanceMethod<&BpfObjectWrap::SetVariable>("setVariable"),
                      InstanceMethod<&BpfObjectWrap::ReuseMap>("reuseMap"),
                      InstanceMethod<&BpfObjectWrap::Load>("load"),
                      InstanceMethod<&BpfObjectWrap::Attach>("attach"),
                      InstanceMethod<&BpfObjectWrap::AttachCgroup>("attachCgroup"),
                      InstanceMethod<&BpfObjectWrap::Plug>("plug"),
                      InstanceMethod<&BpfObjectWrap::DetachOne>("detachOne"),
                      InstanceMethod<&BpfObjectWrap::Detach>("detach"),
                      InstanceMethod<&BpfObjectWrap::Run>("run"),
                      InstanceMethod<&BpfObjectWrap::RunPacket>("runPacket"),
                      InstanceMethod<&BpfObjectWrap::ReadIterator>("readIterator"),
                      InstanceMethod<&BpfObjectWrap::ReadIteratorAsync>("readIteratorAsync"),
                      InstanceMethod<&BpfObjectWrap::ProgramInfo>("programInfo"),
                      InstanceMethod<&BpfObjectWrap::MapFd>("mapFd"),
                      InstanceMethod<&BpfObjectWrap::Lookup>("lookup"),
                      InstanceMethod<&BpfObjectWrap::Update>("update"),
                      InstanceMethod<&BpfObjectWrap::Delete>("delete"),
                      InstanceMethod<&BpfObjectWrap::Dump>("dump"),
                      InstanceMethod<&BpfObjectWrap::ReadMapped>("readMapped"),
                      InstanceMethod<&BpfObjectWrap::WriteMapped>("writeMapped"),
                      InstanceMethod<&BpfObjectWrap::Close>("close")});
}

BpfObjectWrap::BpfObjectWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BpfObjectWrap>(info) {
  handle_ = *info[0].As<Napi::External<std::shared_ptr<ObjectHandle>>>().Data();
}

ObjectHandle& BpfObjectWrap::Open(Napi::Env env, const char* operation) const {
  if (handle_->closed()) Throw(env, operation, EBADF, handle_->name(), "closed");
  if (handle_->busy()) Throw(env, operation, EBUSY, handle_->name(), "a load or an attach is in progress");
  return *handle_;
}

ObjectHandle& BpfObjectWrap::OpenForUse(Napi::Env env, const char* operation) const {
  return handle_->usable() && !handle_->closed() ? *handle_ : Open(env, operation);
}

Napi::Value BpfObjectWrap::Programs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const auto& programs = OpenForUse(env, "list programs").programs();
  Napi::Array list = Napi::Array::New(env, programs.size());
  for (size_t i = 0; i < programs.size(); i++) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", bpf_program__name(programs[i]));
    entry.Set("section", bpf_program__section_name(programs[i]));
    list.Set(i, entry);
  }
  return list;
}

Napi::Value BpfObjectWrap::Maps(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const auto& maps = OpenForUse(env, "list maps").maps();
  Napi::Array list = Napi::Array::New(env, maps.size());
  for (size_t i = 0; i < maps.size(); i++) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", bpf_map__name(maps[i]));
    entry.Set("type", static_cast<double>(bpf_map__type(maps[i])));
    entry.Set("keyBytes", static_cast<double>(bpf_map__key_size(maps[i])));
    entry.Set("valueBytes", static_cast<double>(ValueBytes(maps[i])));
    entry.Set("maxEntries", static_cast<double>(bpf_map__max_entries(maps[i])));
    list.Set(i, entry);
  }
  return list;
}

void BpfObjectWrap::SetAutoload(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "choose");
  bpf_program* program = FindProgram(info.Env(), handle, info[0], "choose");
  const int error = bpf_program__set_autoload(program, info[1].As<Napi::Boolean>());
  if (error != 0) Throw(info.Env(), "choose", -error, bpf_program__name(program));
}

Napi::Value BpfObjectWrap::Load(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "load");
  handle.set_attaching(false);
  handle.BeginWork();
  return (new LoadWorker(info.Env(), handle_))->Start();
}

Napi::Value BpfObjectWrap::ProgramInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "ask");
  bpf_program* program = FindProgram(env, handle, info[0], "ask");
  bpf_prog_info kernel = {};
  __u32 size = sizeof(kernel);
  const int error = bpf_obj_get_info_by_fd(bpf_program__fd(program), &kernel, &size);
  if (error != 0) Throw(env, "ask", -error, bpf_program__name(program));
  Napi::Object entry = Napi::Object::New(env);
  entry.Set("id", static_cast<double>(kernel.id));
  entry.Set("runNanoseconds", Napi::BigInt::New(env, uint64_t{kernel.run_time_ns}));
  entry.Set("runs", Napi::BigInt::New(env, uint64_t{kernel.run_cnt}));
  entry.Set("missed", Napi::BigInt::New(env, uint64_t{kernel.recursion_misses}));
  return entry;
}

void BpfObjectWrap::Close(const Napi::CallbackInfo&) { handle_->Close(); }

Napi::Value OpenObject(const Napi::CallbackInfo& info) {
  auto* worker = new OpenWorker(info.Env(), info[0].As<Napi::String>());
  worker->Queue();
  return worker->promise();
}

void InitObject(Napi::Env env, Napi::Object exports) {
  env.GetInstanceData<AddonData>()->object_class = Napi::Persistent(BpfObjectWrap::Define(env));
  exports.Set("openObject", Napi::Function::New<OpenObject>(env, "openObject"));
}

}  // namespace bpf_napi
