// SPDX-License-Identifier: Apache-2.0
#include "btf.h"

#include <cstring>

namespace bpf_napi {

bool Btf::Parse(const uint8_t* bytes, size_t length) {
  if (length < sizeof(btf_header)) return false;
  btf_header header;
  memcpy(&header, bytes, sizeof(header));
  const uint64_t types = uint64_t{header.hdr_len} + header.type_off;
  const uint64_t strings = uint64_t{header.hdr_len} + header.str_off;
  if (header.magic != BTF_MAGIC || types + header.type_len > length || strings + header.str_len > length) return false;
  types_ = bytes + types;
  strings_ = {reinterpret_cast<const char*>(bytes) + strings, header.str_len};
  if (strings_.empty() || strings_.back() != '\0') return false;
  places_.assign(1, 0);
  for (uint32_t at = 0; at < header.type_len;) {
    if (header.type_len - at < sizeof(btf_type)) return false;
    places_.push_back(at);
    at += Length(*reinterpret_cast<const btf_type*>(types_ + at));
    if (at > header.type_len) return false;
  }
  return true;
}

size_t Btf::Length(const btf_type& type) {
  const size_t count = BTF_INFO_VLEN(type.info);
  switch (BTF_INFO_KIND(type.info)) {
    case BTF_KIND_INT:
    case BTF_KIND_VAR:
    case BTF_KIND_DECL_TAG:
      return sizeof(type) + sizeof(uint32_t);
    case BTF_KIND_ARRAY:
      return sizeof(type) + sizeof(btf_array);
    case BTF_KIND_ENUM:
      return sizeof(type) + count * sizeof(btf_enum);
    case BTF_KIND_FUNC_PROTO:
      return sizeof(type) + count * sizeof(btf_param);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      return sizeof(type) + count * sizeof(btf_member);
    case BTF_KIND_DATASEC:
      return sizeof(type) + count * sizeof(btf_var_secinfo);
    case kEnum64:
      return sizeof(type) + count * 3 * sizeof(uint32_t);
    default:
      return sizeof(type);
  }
}

}  // namespace bpf_napi
