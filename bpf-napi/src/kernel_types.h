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
 * What one object needs of the kernel's BTF. libbpf parses all of it for each object, and compares each of its types
 * with each that the object names. So what all objects of a folder need is looked up in one pass, once, and given to
 * libbpf as BTF of its own (`btf_custom_path`).
 */
class KernelTypes {
 public:
  /** Null where libbpf has to look by itself: types of modules, ids of types in the code, no BTF of the kernel, no
   * memory file. */
  static std::unique_ptr<KernelTypes> Find(const std::string& object_file);

  /** A file in memory with the BTF, as long as this lives. */
  std::string path() const;

  /** Type id of what the program is attached to; 0 where the kernel itself has none. */
  uint32_t TargetOf(const bpf_program* program) const;

 private:
  UniqueFd file_;
  /** Of all tracepoints and functions that the programs of the object name: by kind and name. */
  std::map<std::pair<uint32_t, std::string>, uint32_t> targets_;
};

/**
 * Loads the object with the types that were found.
 * @param types null: libbpf looks by itself
 * @param log why, where the kernel lacks what a program is attached to
 * @return as bpf_object__load
 */
int LoadWith(bpf_object* object, const KernelTypes* types, std::string& log);

/** Once, before the first object is opened: libbpf takes targets that were looked up. */
void RegisterTargets();

}  // namespace bpf_napi
