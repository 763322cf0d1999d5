// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "unique_fd.h"

namespace bpf_napi {

/**
 * Kernel types that an object needs. For each object, libbpf would parse the kernel's complete BTF and compare each
 * type with all names in the object. Instead, the types for all objects in a directory are found in one pass and passed
 * to libbpf as a small separate BTF (`btf_custom_path`).
 */
class KernelTypes {
 public:
  /**
   * Returns null if libbpf has to search for the types itself: the object needs module types or type IDs, the kernel
   * has no BTF, or no memory file can be created.
   */
  static std::unique_ptr<KernelTypes> Find(const std::string& object_file);

  /** Path of a memory file that contains the BTF. Valid during the lifetime of this object. */
  std::string path() const;

  /** Returns the type ID of the program's target; 0 if the target is not in the kernel's own BTF. */
  uint32_t TargetOf(const bpf_program* program) const;

 private:
  UniqueFd file_;
  /** Type IDs by kind and name, for all tracepoints and functions to which programs of the object are attached. */
  std::map<std::pair<uint32_t, std::string>, uint32_t> targets_;
};

/**
 * Loads the object using the given types.
 * @param types null to let libbpf search for the types
 * @param log receives the reason if the target of a program does not exist in the kernel
 * @return same as bpf_object__load()
 */
int LoadWith(bpf_object* object, const KernelTypes* types, std::string& log);

/** Registers a libbpf handler that sets the targets. Must be called once, before the first object is opened. */
void RegisterTargets();

}  // namespace bpf_napi
