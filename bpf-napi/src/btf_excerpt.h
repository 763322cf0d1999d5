// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "btf.h"

namespace bpf_napi {

using Bytes = std::vector<uint8_t>;

/**
 * Copies types of the kernel into a separate BTF, including all types that they contain by value. Types that are only
 * referenced by pointers are omitted because CO-RE relocations do not follow pointers.
 */
class BtfExcerpt {
 public:
  explicit BtfExcerpt(const Btf& kernel) : kernel_(kernel), strings_(1, '\0') {}

  void Add(uint32_t id) { Renumber(id); }

  /** Copies the types that were added, and returns the BTF. Must be called only once. */
  Bytes Finish();

 private:
  /** Returns the ID that a type has in the copy. */
  uint32_t Renumber(uint32_t id);
  uint32_t String(uint32_t offset);
  void Copy(uint32_t id);
  void Append(const void* bytes, size_t length);

  const Btf& kernel_;
  Bytes types_;
  std::string strings_;
  std::vector<uint32_t> added_;
  /** IDs and string offsets in the copy, keyed by those in the kernel's BTF. */
  std::unordered_map<uint32_t, uint32_t> ids_, offsets_;
};

}  // namespace bpf_napi
