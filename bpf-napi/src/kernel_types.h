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
 * Types of the kernel's BTF that one object needs. libbpf parses the whole BTF for each object, and compares each of
 * its types with each that the object names. Therefore one pass finds the types for all objects of a folder, once, and
 * libbpf gets them as a separate BTF (`btf_custom_path`).
 */
class KernelTypes {
 public:
  /** Null if libbpf has to search by itself: types of modules, ids of types in the code, no BTF of the kernel, no
   * memory file. */
  static std::unique_ptr<KernelTypes> Find(const std::string& object_file);

  /** File in memory with the BTF, which lives as long as this object. */
  std::string path() const;

  /** Type id of the program's target; 0 if the kernel itself has none. */
  uint32_t TargetOf(const bpf_program* program) const;

 private:
  UniqueFd file_;
  /** Ids of all tracepoints and functions that the programs of the object name: by kind and name. */
  std::map<std::pair<uint32_t, std::string>, uint32_t> targets_;
};

/**
 * Loads the object with the types that were found.
 * @param types null: libbpf searches by itself
 * @param log receives the reason if the kernel lacks the target of a program
 * @return as bpf_object__load
 */
int LoadWith(bpf_object* object, const KernelTypes* types, std::string& log);

/** Registers the handler by which libbpf gets the found targets; called once, before the first object is opened. */
void RegisterTargets();

}  // namespace bpf_napi
