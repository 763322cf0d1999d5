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
 * Types of the kernel's BTF that an object needs. libbpf would parse the complete BTF for each object and compare all
 * types with all names in the object. Instead, the types for all objects of a directory are found in one pass, and
 * libbpf gets them as a separate BTF (`btf_custom_path`).
 */
class KernelTypes {
 public:
  /**
   * Returns null if libbpf has to search for the types because the object needs types of modules or type IDs, the
   * kernel has no BTF, or no memory file can be created.
   */
  static std::unique_ptr<KernelTypes> Find(const std::string& object_file);

  /** Path of a memory file with the BTF, which exists as long as this object. */
  std::string path() const;

  /** Returns the type ID of the program's target; 0 if the kernel itself does not have it. */
  uint32_t TargetOf(const bpf_program* program) const;

 private:
  UniqueFd file_;
  /** IDs by kind and name of all tracepoints and functions to which the programs of the object refer. */
  std::map<std::pair<uint32_t, std::string>, uint32_t> targets_;
};

/**
 * Loads the object with the given types.
 * @param types null if libbpf should search for the types
 * @param log receives the reason if the kernel lacks the target of a program
 * @return same as bpf_object__load
 */
int LoadWith(bpf_object* object, const KernelTypes* types, std::string& log);

/** Registers the handler that passes the targets to libbpf. Must be called once, before the first object is opened. */
void RegisterTargets();

}  // namespace bpf_napi
