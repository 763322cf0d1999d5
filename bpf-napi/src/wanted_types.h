// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/bpf.h>
#include <linux/btf.h>

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "elf_file.h"

namespace bpf_napi {

/** Kind and name of a BTF type. */
using KindAndName = std::pair<uint32_t, std::string>;

/** Kernel types that an object needs. */
struct Wanted {
  /** Types that the code of the object refers to. */
  std::set<KindAndName> types;
  /** Types that programs of the object are attached to. */
  std::set<KindAndName> targets;
  /** True if the object also needs type IDs, which are valid only in the kernel's complete BTF. */
  bool ids = false;

  void Add(const Wanted& other) {
    types.insert(other.types.begin(), other.types.end());
    targets.insert(other.targets.begin(), other.targets.end());
  }
};

/**
 * A type of program, with the kind and the name prefix of the BTF types that such programs are attached to (libbpf:
 * libbpf_find_vmlinux_btf_id).
 */
struct Target {
  const char* section;
  bpf_attach_type attach;
  uint32_t kind;
  const char* prefix;
};

constexpr std::array<Target, 3> kTargets = {{
    {"tp_btf/", BPF_TRACE_RAW_TP, BTF_KIND_TYPEDEF, "btf_trace_"},
    {"fentry/", BPF_TRACE_FENTRY, BTF_KIND_FUNC, ""},
    {"fexit/", BPF_TRACE_FEXIT, BTF_KIND_FUNC, ""},
}};

/** @return the target's kind and name; the name is empty if the section matches none of {@link kTargets} */
KindAndName TargetOfSection(const std::string& section);

/** Reads `.BTF` and `.BTF.ext` of an object. @return whether both sections are present and complete */
bool ReadWanted(const File& file, Wanted& wanted);

}  // namespace bpf_napi
