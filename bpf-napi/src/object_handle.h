// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/libbpf.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "attachment.h"
#include "handle.h"
#include "kernel_types.h"

namespace bpf_napi {

/** Size in bytes of a value in copies by the kernel. For a per-CPU map, this includes all possible CPUs. */
size_t ValueBytes(const bpf_map* map);

size_t RoundUp8(size_t bytes);

/** A variable of an object: a constant (`const volatile`), or a setting in the section `.data`. */
struct Variable {
  /** Address at which the value can be set before the load; null if there is no such variable. */
  uint8_t* at = nullptr;
  size_t bytes = 0;
  /** Map that holds the variable, and the offset in it. */
  const bpf_map* map = nullptr;
  size_t offset = 0;
  bool constant = false;
};

Variable FindVariable(const bpf_object* object, const std::string& name);

/** An instance of a BPF object file with its maps, programs and attachments. */
class ObjectHandle final : public Handle {
 public:
  ObjectHandle(bpf_object* object, std::string name, std::unique_ptr<KernelTypes> types)
      : object_(object), name_(std::move(name)), types_(std::move(types)) {}

  /** Pending work holds a reference, so no work is in progress when the destructor runs. */
  ~ObjectHandle() override {
    if (object_ != nullptr) Release();
  }

  bpf_object* object() const { return object_; }
  const std::string& name() const { return name_; }
  const std::vector<bpf_map*>& maps() const { return maps_; }
  const std::vector<bpf_program*>& programs() const { return programs_; }
  void Index();

  Attachments& attachments() { return attachments_; }

  /** Must be called once maps may no longer be changed. libbpf itself prevents only some changes. */
  void BeginLoad() { load_begun_ = true; }
  bool load_begun() const { return load_begun_; }

  /**
   * Says which work is in progress while the handle is busy. Called only by the thread of the JavaScript object, which
   * starts all work.
   */
  void set_attaching(bool attaching) { attaching_ = attaching; }

  /** Whether maps and descriptors of programs may be used: an attach changes neither, but a load does. */
  bool usable() const { return attaching_ || !busy(); }

  /**
   * Returns and releases the kernel types, which are needed only for the load. Null if libbpf searches for them itself.
   */
  std::unique_ptr<KernelTypes> TakeTypes() { return std::move(types_); }

  /**
   * Returns a pointer to `bytes` bytes at `offset` in the memory of a map. Maps the memory on first use. Returns null
   * and sets errno on failure.
   * @param protection PROT_READ, or PROT_READ | PROT_WRITE
   */
  void* Mapped(size_t map, size_t offset, size_t bytes, int protection);

 protected:
  void Release() final;

 private:
  struct Mapping {
    uint8_t* address;
    size_t bytes;
  };

  bpf_object* object_;
  std::string name_;
  std::unique_ptr<KernelTypes> types_;
  std::vector<bpf_map*> maps_;
  std::vector<bpf_program*> programs_;
  bool load_begun_ = false;
  bool attaching_ = false;
  Attachments attachments_;
  /** Mappings by map index and protection. */
  std::map<std::pair<size_t, int>, Mapping> mappings_;
};

}  // namespace bpf_napi
