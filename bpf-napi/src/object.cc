// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <bpf/bpf.h>
#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>

#include "addon.h"
#include "error.h"

namespace bpf_napi {

namespace {

/** Runs a blocking step of an object on libuv's pool and settles a promise with its outcome. */
class ObjectWorker : public Napi::AsyncWorker {
 public:
  using Step = std::function<Failure(ObjectHandle&)>;

  ObjectWorker(Napi::Env env, std::shared_ptr<ObjectHandle> handle, Step step)
      : AsyncWorker(env), deferred_(env), handle_(std::move(handle)), step_(std::move(step)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    failure_ = step_(*handle_);
    handle_->EndWork();
  }

  void OnOK() override {
    // Also where the close came after the step: who sees the promise resolve may use the object.
    if (handle_->closed() && !failure_.failed()) failure_ = {"use", EBADF, handle_->name(), "closed meanwhile"};
    if (failure_.failed()) {
      deferred_.Reject(ToError(Env(), failure_).Value());
    } else {
      deferred_.Resolve(Env().Undefined());
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<ObjectHandle> handle_;
  Step step_;
  Failure failure_;
};

class OpenWorker : public Napi::AsyncWorker {
 public:
  OpenWorker(Napi::Env env, std::string path) : AsyncWorker(env), deferred_(env), path_(std::move(path)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    LogCapture log;
    bpf_object* object = bpf_object__open_file(path_.c_str(), nullptr);
    if (object == nullptr) {
      failure_ = {"open", errno, path_, log.take()};
      return;
    }
    handle_ = std::make_shared<ObjectHandle>(object, bpf_object__name(object));
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
 * A type or function that the kernel lacks libbpf looks for in its modules, once. Before 1.3 the whole load fails where
 * it may not (CAP_SYS_ADMIN). So there it is made to look before, in vain.
 */
void SkipModules(bpf_object* object) {
  __u32 id = 0;
  if (bpf_btf_get_next_id(0, &id) != -EPERM) return;
  bpf_program* any = bpf_object__next_program(object, nullptr);
  if (any != nullptr) bpf_program__set_attach_target(any, 0, "no such function");
}

bpf_program* FindProgram(Napi::Env env, const ObjectHandle& handle, const Napi::Value& name, const char* operation) {
  const std::string text = name.As<Napi::String>();
  bpf_program* program = bpf_object__find_program_by_name(handle.object(), text.c_str());
  if (program == nullptr) Throw(env, operation, ENOENT, "program " + text + " of " + handle.name());
  return program;
}

size_t MapIndex(Napi::Env env, const ObjectHandle& handle, const Napi::Value& value, const char* operation) {
  const size_t index = value.As<Napi::Number>().Uint32Value();
  if (index >= handle.maps().size()) Throw(env, operation, ENOENT, "map of " + handle.name());
  return index;
}

bpf_map* FindMap(Napi::Env env, const ObjectHandle& handle, const Napi::Value& value, const char* operation) {
  return handle.maps()[MapIndex(env, handle, value, operation)];
}

/** Bytes of a typed array argument, which must hold at least `bytes`. */
uint8_t* Bytes(Napi::Env env, const Napi::Value& value, size_t bytes, const char* operation, const std::string& what) {
  auto array = value.As<Napi::Uint8Array>();
  if (array.ByteLength() < bytes) {
    Throw(env, operation, EINVAL, what,
          "needs " + std::to_string(bytes) + " bytes, got " + std::to_string(array.ByteLength()));
  }
  return array.Data();
}

}  // namespace

Napi::Function BpfObjectWrap::Define(Napi::Env env) {
  return DefineClass(
      env, "NativeObject",
      {InstanceMethod<&BpfObjectWrap::Programs>("programs"), InstanceMethod<&BpfObjectWrap::Maps>("maps"),
       InstanceMethod<&BpfObjectWrap::SetAutoload>("setAutoload"),
       InstanceMethod<&BpfObjectWrap::SetAutocreate>("setAutocreate"),
       InstanceMethod<&BpfObjectWrap::SetMaxEntries>("setMaxEntries"),
       InstanceMethod<&BpfObjectWrap::SetConstant>("setConstant"), InstanceMethod<&BpfObjectWrap::Load>("load"),
       InstanceMethod<&BpfObjectWrap::Attach>("attach"), InstanceMethod<&BpfObjectWrap::Detach>("detach"),
       InstanceMethod<&BpfObjectWrap::Run>("run"), InstanceMethod<&BpfObjectWrap::ProgramInfo>("programInfo"),
       InstanceMethod<&BpfObjectWrap::MapFd>("mapFd"), InstanceMethod<&BpfObjectWrap::Lookup>("lookup"),
       InstanceMethod<&BpfObjectWrap::Update>("update"), InstanceMethod<&BpfObjectWrap::Delete>("delete"),
       InstanceMethod<&BpfObjectWrap::Dump>("dump"), InstanceMethod<&BpfObjectWrap::ReadMapped>("readMapped"),
       InstanceMethod<&BpfObjectWrap::Close>("close")});
}

BpfObjectWrap::BpfObjectWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BpfObjectWrap>(info) {
  handle_ = *info[0].As<Napi::External<std::shared_ptr<ObjectHandle>>>().Data();
}

ObjectHandle& BpfObjectWrap::Open(Napi::Env env, const char* operation) const {
  if (handle_->closed()) Throw(env, operation, EBADF, handle_->name(), "closed");
  if (handle_->busy()) Throw(env, operation, EBUSY, handle_->name(), "a load or an attach is under way");
  return *handle_;
}

Napi::Value BpfObjectWrap::Programs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const auto& programs = Open(env, "list programs").programs();
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
  const auto& maps = Open(env, "list maps").maps();
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

void BpfObjectWrap::SetAutocreate(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "choose");
  bpf_map* map = FindMap(info.Env(), handle, info[0], "choose");
  const int error = bpf_map__set_autocreate(map, info[1].As<Napi::Boolean>());
  if (error != 0) Throw(info.Env(), "choose", -error, bpf_map__name(map));
}

void BpfObjectWrap::SetMaxEntries(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "size");
  bpf_map* map = FindMap(info.Env(), handle, info[0], "size");
  const int error = bpf_map__set_max_entries(map, info[1].As<Napi::Number>().Uint32Value());
  if (error != 0) Throw(info.Env(), "size", -error, bpf_map__name(map));
}

void BpfObjectWrap::SetConstant(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "set");
  const std::string name = info[0].As<Napi::String>();
  const std::string subject = "constant " + name + " of " + handle.name();
  const Constant constant = FindConstant(handle.object(), name);
  if (constant.at == nullptr) Throw(info.Env(), "set", ENOENT, subject);
  if (constant.loaded) Throw(info.Env(), "set", EBUSY, subject, "the object is loaded");
  if (info[1].IsBigInt()) {
    bool lossless = false;
    const uint64_t value = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
    if (constant.bytes > sizeof(value)) Throw(info.Env(), "set", EINVAL, subject, "is no number");
    if (!lossless || (constant.bytes < sizeof(value) && value >> (8 * constant.bytes) != 0)) {
      Throw(info.Env(), "set", ERANGE, subject);
    }
    memcpy(constant.at, &value, constant.bytes);  // both architectures that we build for are little-endian
    return;
  }
  const auto bytes = info[1].As<Napi::Uint8Array>();
  if (bytes.ByteLength() != constant.bytes) {
    Throw(info.Env(), "set", EINVAL, subject, "has " + std::to_string(constant.bytes) + " bytes");
  }
  memcpy(constant.at, bytes.Data(), constant.bytes);
}

Napi::Value BpfObjectWrap::Load(const Napi::CallbackInfo& info) {
  Open(info.Env(), "load").BeginWork();
  auto* worker = new ObjectWorker(info.Env(), handle_, [](ObjectHandle& handle) -> Failure {
    SkipModules(handle.object());
    LogCapture log;
    const int error = bpf_object__load(handle.object());
    // libbpf has just parsed and freed the kernel's BTF, some 10 MB; the pool thread's arena would keep it.
    malloc_trim(0);
    return error == 0 ? Failure{} : Failure{"load", -error, handle.name(), log.take()};
  });
  worker->Queue();
  return worker->promise();
}

Napi::Value BpfObjectWrap::Attach(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "attach");
  bpf_program* program = FindProgram(info.Env(), handle, info[0], "attach");
  handle.BeginWork();
  auto* worker = new ObjectWorker(info.Env(), handle_, [program](ObjectHandle& busy) -> Failure {
    LogCapture log;
    bpf_link* link = bpf_program__attach(program);
    if (link == nullptr) return {"attach", errno, bpf_program__name(program), log.take()};
    busy.AddLink(link);
    return {};
  });
  worker->Queue();
  return worker->promise();
}

void BpfObjectWrap::Detach(const Napi::CallbackInfo& info) { Open(info.Env(), "detach").Detach(); }

Napi::Value BpfObjectWrap::Run(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "run");
  bpf_program* program = FindProgram(info.Env(), handle, info[0], "run");
  auto arguments = info[1].As<Napi::BigUint64Array>();
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = arguments.Data(),
              .ctx_size_in = static_cast<__u32>(arguments.ByteLength()));
  const int error = bpf_prog_test_run_opts(bpf_program__fd(program), &options);
  if (error != 0) Throw(info.Env(), "run", -error, bpf_program__name(program));
  return Napi::Number::New(info.Env(), options.retval);
}

Napi::Value BpfObjectWrap::ProgramInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = Open(env, "ask");
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

Napi::Value BpfObjectWrap::MapFd(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "ask");
  return Napi::Number::New(info.Env(), bpf_map__fd(FindMap(info.Env(), handle, info[0], "ask")));
}

Napi::Value BpfObjectWrap::Lookup(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = Open(env, "look up");
  bpf_map* map = FindMap(env, handle, info[0], "look up");
  const std::string name = bpf_map__name(map);
  const uint8_t* key = Bytes(env, info[1], bpf_map__key_size(map), "look up", name);
  uint8_t* value = Bytes(env, info[2], ValueBytes(map), "look up", name);
  if (bpf_map_lookup_elem(bpf_map__fd(map), key, value) == 0) return Napi::Boolean::New(env, true);
  if (errno != ENOENT) Throw(env, "look up", errno, name);
  return Napi::Boolean::New(env, false);
}

void BpfObjectWrap::Update(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = Open(env, "update");
  bpf_map* map = FindMap(env, handle, info[0], "update");
  const std::string name = bpf_map__name(map);
  const uint8_t* key = Bytes(env, info[1], bpf_map__key_size(map), "update", name);
  const uint8_t* value = Bytes(env, info[2], ValueBytes(map), "update", name);
  if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY) != 0) Throw(env, "update", errno, name);
}

Napi::Value BpfObjectWrap::Delete(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = Open(env, "delete");
  bpf_map* map = FindMap(env, handle, info[0], "delete");
  const std::string name = bpf_map__name(map);
  const uint8_t* key = Bytes(env, info[1], bpf_map__key_size(map), "delete", name);
  if (bpf_map_delete_elem(bpf_map__fd(map), key) == 0) return Napi::Boolean::New(env, true);
  if (errno != ENOENT) Throw(env, "delete", errno, name);
  return Napi::Boolean::New(env, false);
}

namespace {

/* What kernels say of a type of map that they cannot read in one go; no number of user space. */
constexpr int kNotSupported = 524;

/* Copies entries one by one, at most `*entries`, and sets that to their number. Returns 0 or an error number. */
int CopyByKeys(int fd, size_t key_bytes, size_t value_bytes, uint8_t* keys, uint8_t* values, __u32* entries) {
  const __u32 capacity = *entries;
  const uint8_t* previous = nullptr;
  for (*entries = 0; *entries < capacity;) {
    uint8_t* key = keys + *entries * key_bytes;
    if (bpf_map_get_next_key(fd, previous, key) != 0) return errno == ENOENT ? 0 : errno;
    previous = key;
    if (bpf_map_lookup_elem(fd, key, values + *entries * value_bytes) == 0) {
      ++*entries;
    } else if (errno != ENOENT) {
      return errno;
    } else {
      // It went meanwhile: from a key that is not there the kernel would start anew.
      return 0;
    }
  }
  return 0;
}

}  // namespace

Napi::Value BpfObjectWrap::Dump(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = Open(env, "dump");
  bpf_map* map = FindMap(env, handle, info[0], "dump");
  const std::string name = bpf_map__name(map);
  const size_t key_bytes = bpf_map__key_size(map), value_bytes = ValueBytes(map);
  const __u32 capacity = bpf_map__max_entries(map);
  const size_t values_at = RoundUp8(capacity * key_bytes);
  uint8_t* target = Bytes(env, info[1], values_at + capacity * value_bytes, "dump", name);
  // Where the kernel would go on: a bucket number or a key. There is room for all entries, so nobody asks.
  std::vector<uint8_t> cursor(std::max(key_bytes, sizeof(__u64)));
  __u32 entries = capacity;
  const int fd = bpf_map__fd(map);
  int error = bpf_map_lookup_batch(fd, nullptr, cursor.data(), target, target + values_at, &entries, nullptr);
  // Before 5.13 per-CPU arrays cannot be read in one go.
  if (error == -kNotSupported) {
    entries = capacity;
    error = -CopyByKeys(fd, key_bytes, value_bytes, target, target + values_at, &entries);
  }
  // ENOENT is the end of the map. Success is not: entries that moved meanwhile were copied twice and took the room.
  if (error != 0 && error != -ENOENT) Throw(env, "dump", -error, name);
  return Napi::Number::New(env, entries);
}

void BpfObjectWrap::ReadMapped(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = Open(env, "read");
  const size_t index = MapIndex(env, handle, info[0], "read");
  const size_t bytes = info[2].As<Napi::Number>().Uint32Value();
  uint8_t* target = Bytes(env, info[1], bytes, "read", bpf_map__name(handle.maps()[index]));
  const void* memory = handle.Mapped(index, bytes);
  if (memory == nullptr) Throw(env, "read", errno, bpf_map__name(handle.maps()[index]));
  memcpy(target, memory, bytes);
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
