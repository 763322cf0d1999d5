// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/btf.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace bpf_napi {

/** Defined here because older kernel headers do not define `BTF_KIND_ENUM64`. */
constexpr uint32_t kEnum64 = 19;

/** Treats 64-bit enums like other enums. */
inline uint32_t PlainKind(uint32_t kind) { return kind == kEnum64 ? uint32_t{BTF_KIND_ENUM} : kind; }

/** Type records and strings of a BTF blob (kernel: Documentation/bpf/btf.rst). */
class Btf {
 public:
  /** Parses the bytes without copying them. @return false if they are malformed or truncated */
  bool Parse(const uint8_t* bytes, size_t length);

  uint32_t size() const { return places_.size(); }
  const btf_type& type(uint32_t id) const { return *reinterpret_cast<const btf_type*>(types_ + places_[id]); }
  std::string_view strings() const { return strings_; }
  const char* name(uint32_t offset) const { return offset < strings_.size() ? strings_.data() + offset : ""; }

  /** Size in bytes of a type record, including the data that follows its header. */
  static size_t Length(const btf_type& type);

 private:
  const uint8_t* types_ = nullptr;
  std::string_view strings_;
  /** Offset of each type's record, indexed by type ID. ID 0 is void. */
  std::vector<uint32_t> places_;
};

}  // namespace bpf_napi
