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

/** Bytes of a value as the kernel copies it: a per-CPU value comes once for each possible CPU. */
size_t ValueBytes(const bpf_map* map);

size_t RoundUp8(size_t bytes);

/** A constant (`const volatile`) of an object: where its value is kept until the load. */
struct Constant {
  uint8_t* at = nullptr;
  size_t bytes = 0;
  bool loaded = false;
};

/** Returns a constant without a place if the object has none of that name. */
Constant FindConstant(const bpf_object* object, const std::string& name);

/** One instance of a BPF object file, with its maps, programs and links. */
class ObjectHandle final : public Handle {
 public:
  ObjectHandle(bpf_object* object, std::string name, std::unique_ptr<KernelTypes> types)
      : object_(object), name_(std::move(name)), types_(std::move(types)) {}

  /** Runs without references to the handle, so no work is in flight either. */
  ~ObjectHandle() override {
    if (object_ != nullptr) Release();
  }

  bpf_object* object() const { return object_; }
  const std::string& name() const { return name_; }
  const std::vector<bpf_map*>& maps() const { return maps_; }
  const std::vector<bpf_program*>& programs() const { return programs_; }
  void Index();

  Attachments& attachments() { return attachments_; }

  /** Set once maps must not change any more: libbpf checks that for some changes only. */
  void BeginLoad() { load_begun_ = true; }
  bool load_begun() const { return load_begun_; }

  /** Types for the load, which is the last to need them. Null if libbpf searches by itself. */
  std::unique_ptr<KernelTypes> TakeTypes() { return std::move(types_); }

  /**
   * Returns the place of `bytes` from `offset` of the map's memory, which is mapped on first use; nullptr with errno
   * set if that fails.
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
  Attachments attachments_;
  /** Mappings by map and protection. */
  std::map<std::pair<size_t, int>, Mapping> mappings_;
};

}  // namespace bpf_napi
