// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "arguments.h"
#include "attachment.h"
#include "error.h"
#include "object.h"
#include "object_worker.h"
#include "unique_fd.h"

/* Attaches and detaches the programs of an object. */

namespace bpf_napi {

namespace {

class AttachWorker : public ObjectWorker {
 public:
  AttachWorker(Napi::Env env, std::shared_ptr<ObjectHandle> handle, bpf_program* program)
      : ObjectWorker(env, std::move(handle)), program_(program) {}

 protected:
  Failure Step(ObjectHandle& handle) override {
    LogCapture log;
    bpf_link* link = Attach(program_);
    if (link == nullptr) return {"attach", errno, bpf_program__name(program_), log.take()};
    id_ = handle.attachments().Add(std::make_unique<LinkAttachment>(link));
    return {};
  }

  Napi::Value Result(Napi::Env env) override { return Napi::Number::New(env, id_); }

  /** Attaches the program; returns null and sets errno on failure. */
  virtual bpf_link* Attach(bpf_program* program) { return bpf_program__attach(program); }

  const bpf_program* program() const { return program_; }

 private:
  bpf_program* program_;
  uint32_t id_ = 0;
};

/**
 * Explains why attaching a program to a cgroup failed with EPERM. Kernel: kernel/bpf/cgroup.c, kernel/bpf/syscall.c.
 */
std::string WhyRefused(int cgroup, const std::string& name, const bpf_program* program) {
  uint32_t ids[64];
  uint32_t count = 64, flags = 0;
  const bpf_attach_type type = bpf_program__expected_attach_type(program);
  if (bpf_prog_query(cgroup, type, 0, &flags, ids, &count) != 0) return "attaching needs CAP_NET_ADMIN";
  const char* const alone = ", which was attached without BPF_F_ALLOW_MULTI and allows no other program";
  if (count > 0 && (flags & BPF_F_ALLOW_MULTI) == 0) {
    return name + " has the program " + std::to_string(ids[0]) + alone;
  }
  return "a cgroup above " + name + " has a program" + alone;
}

class CgroupWorker final : public AttachWorker {
 public:
  /** @param cgroup path to open if `fd` is not valid */
  CgroupWorker(Napi::Env env, std::shared_ptr<ObjectHandle> handle, bpf_program* program, std::string cgroup,
               UniqueFd fd)
      : AttachWorker(env, std::move(handle), program), cgroup_(std::move(cgroup)), fd_(std::move(fd)) {}

 protected:
  Failure Step(ObjectHandle& handle) override {
    if (!fd_) fd_.reset(open(cgroup_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd_) return {"attach", errno, cgroup_};
    Failure failure = AttachWorker::Step(handle);
    if (failure.error == EBADF) failure.log = cgroup_ + " is not in a cgroup v2 hierarchy\n" + failure.log;
    if (failure.error == EPERM) failure.log = WhyRefused(fd_.get(), cgroup_, program()) + "\n" + failure.log;
    fd_.reset();
    return failure;
  }

  bpf_link* Attach(bpf_program* program) override { return bpf_program__attach_cgroup(program, fd_.get()); }

 private:
  std::string cgroup_;
  UniqueFd fd_;
};

/**
 * Returns whether the program is of a cgroup type. With other types, the kernel would misinterpret the descriptor, or
 * attach the program to the hook of its section.
 */
bool IsForCgroups(const bpf_program* program) {
  switch (bpf_program__type(program)) {
    case BPF_PROG_TYPE_CGROUP_SKB:
    case BPF_PROG_TYPE_CGROUP_SOCK:
    case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
    case BPF_PROG_TYPE_CGROUP_SOCKOPT:
    case BPF_PROG_TYPE_CGROUP_SYSCTL:
    case BPF_PROG_TYPE_CGROUP_DEVICE:
    case BPF_PROG_TYPE_SOCK_OPS:
      return true;
    default:
      return false;
  }
}

}  // namespace

Napi::Value BpfObjectWrap::Attach(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "attach");
  bpf_program* program = FindProgram(info.Env(), handle, info[0], "attach");
  handle.set_attaching(true);
  handle.BeginWork();
  return (new AttachWorker(info.Env(), handle_, program))->Start();
}

Napi::Value BpfObjectWrap::AttachCgroup(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = Open(env, "attach");
  bpf_program* program = FindProgram(env, handle, info[0], "attach");
  if (!IsForCgroups(program)) {
    Throw(env, "attach", EINVAL, bpf_program__name(program), "programs of this type cannot be attached to a cgroup");
  }
  std::string cgroup;
  UniqueFd fd;
  if (info[1].IsNumber()) {
    // Duplicated because the caller may close the descriptor before the pool thread uses it.
    const int given = info[1].As<Napi::Number>().Int32Value();
    cgroup = "descriptor " + std::to_string(given);
    fd.reset(fcntl(given, F_DUPFD_CLOEXEC, 0));
    if (!fd) Throw(env, "attach", errno, cgroup);
  } else {
    cgroup = info[1].As<Napi::String>();
  }
  handle.set_attaching(true);
  handle.BeginWork();
  return (new CgroupWorker(env, handle_, program, std::move(cgroup), std::move(fd)))->Start();
}

Napi::Value BpfObjectWrap::Plug(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "plug");
  bpf_program* program = FindProgram(env, handle, info[0], "plug");
  const std::string name = bpf_program__name(program);
  const int array = info[1].As<Napi::Number>().Int32Value();
  const uint32_t index = info[2].As<Napi::Number>().Uint32Value();
  const int program_fd = bpf_program__fd(program);
  if (program_fd < 0) Throw(env, "plug", EINVAL, name, "the program is not loaded");
  bpf_map_info map = {};
  __u32 size = sizeof(map);
  int error = bpf_obj_get_info_by_fd(array, &map, &size);
  if (error != 0) Throw(env, "plug", -error, name, "the array is not loaded");
  if (map.type != BPF_MAP_TYPE_PROG_ARRAY) {
    Throw(env, "plug", EINVAL, name, std::string(map.name) + " is not a BPF_MAP_TYPE_PROG_ARRAY");
  }
  bpf_prog_info kernel = {};
  size = sizeof(kernel);
  error = bpf_obj_get_info_by_fd(program_fd, &kernel, &size);
  if (error != 0) Throw(env, "plug", -error, name);
  UniqueFd held(fcntl(array, F_DUPFD_CLOEXEC, 0));
  if (!held) Throw(env, "plug", errno, name);
  error = bpf_map_update_elem(held.get(), &index, &program_fd, BPF_ANY);
  if (error == -EINVAL) {
    // The check that failed is bpf_prog_map_compatible() in the kernel.
    Throw(env, "plug", EINVAL, name,
          std::string(map.name) + " only takes programs of the same type as the programs that use it");
  }
  if (error == -E2BIG) {
    Throw(env, "plug", E2BIG, name,
          std::string(map.name) + " has " + std::to_string(map.max_entries) + " slots but no slot " +
              std::to_string(index));
  }
  if (error != 0) Throw(env, "plug", -error, name);
  const uint32_t id = handle.attachments().Add(std::make_unique<PlugAttachment>(std::move(held), index, kernel.id));
  return Napi::Number::New(env, id);
}

void BpfObjectWrap::DetachOne(const Napi::CallbackInfo& info) {
  handle_->attachments().Remove(info[0].As<Napi::Number>().Uint32Value());
}

void BpfObjectWrap::Detach(const Napi::CallbackInfo& info) { Open(info.Env(), "detach").attachments().Clear(); }

}  // namespace bpf_napi
