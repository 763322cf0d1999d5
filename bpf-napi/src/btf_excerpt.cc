// SPDX-License-Identifier: Apache-2.0
#include "btf_excerpt.h"

#include <array>
#include <cstring>

namespace bpf_napi {

namespace {

template <typename Element, typename Visit>
void Change(uint8_t* at, uint32_t count, const Visit& visit) {
  for (uint32_t index = 0; index < count; index++, at += sizeof(Element)) {
    Element element;
    memcpy(&element, at, sizeof(element));
    visit(element);
    memcpy(at, &element, sizeof(element));
  }
}

}  // namespace

Bytes BtfExcerpt::Finish() {
  // The loop also covers records that are appended while it runs.
  for (size_t index = 0; index < added_.size(); index++) Copy(added_[index]);
  btf_header header = {};
  header.magic = BTF_MAGIC;
  header.version = 1;
  header.hdr_len = sizeof(header);
  header.type_len = types_.size();
  header.str_off = types_.size();
  header.str_len = strings_.size();
  Bytes all(sizeof(header) + types_.size() + strings_.size());
  memcpy(all.data(), &header, sizeof(header));
  memcpy(all.data() + sizeof(header), types_.data(), types_.size());
  memcpy(all.data() + sizeof(header) + types_.size(), strings_.data(), strings_.size());
  return all;
}

uint32_t BtfExcerpt::Renumber(uint32_t id) {
  if (id == 0 || id >= kernel_.size()) return 0;
  const auto [found, is_new] = ids_.try_emplace(id, added_.size() + 1);
  if (is_new) added_.push_back(id);
  return found->second;
}

uint32_t BtfExcerpt::String(uint32_t offset) {
  if (offset == 0) return 0;
  const auto [found, is_new] = offsets_.try_emplace(offset, strings_.size());
  if (is_new) strings_.append(kernel_.name(offset)).push_back('\0');
  return found->second;
}

void BtfExcerpt::Copy(uint32_t id) {
  const btf_type& original = kernel_.type(id);
  const size_t start = types_.size();
  const auto* bytes = reinterpret_cast<const uint8_t*>(&original);
  const uint32_t kind = BTF_INFO_KIND(original.info);
  const uint32_t count = BTF_INFO_VLEN(original.info);
  btf_type type = original;
  type.name_off = String(type.name_off);
  if (kind == BTF_KIND_FUNC_PROTO) {
    type.info &= ~0xffffU;
    type.type = 0;
    Append(&type, sizeof(type));
    return;
  }
  types_.insert(types_.end(), bytes, bytes + Btf::Length(original));
  uint8_t* extra = types_.data() + start + sizeof(type);
  switch (kind) {
    case BTF_KIND_PTR:
      type.type = 0;
      break;
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_TYPE_TAG:
      type.type = Renumber(type.type);
      break;
    case BTF_KIND_ARRAY:
      Change<btf_array>(extra, 1, [&](btf_array& array) {
        array.type = Renumber(array.type);
        array.index_type = Renumber(array.index_type);
      });
      break;
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      Change<btf_member>(extra, count, [&](btf_member& member) {
        member.name_off = String(member.name_off);
        member.type = Renumber(member.type);
      });
      break;
    case BTF_KIND_ENUM:
      Change<btf_enum>(extra, count, [&](btf_enum& value) { value.name_off = String(value.name_off); });
      break;
    case kEnum64:
      Change<std::array<uint32_t, 3>>(extra, count, [&](auto& value) { value[0] = String(value[0]); });
      break;
    default:
      break;
  }
  memcpy(types_.data() + start, &type, sizeof(type));
}

void BtfExcerpt::Append(const void* bytes, size_t length) {
  const auto* start = static_cast<const uint8_t*>(bytes);
  types_.insert(types_.end(), start, start + length);
}

}  // namespace bpf_napi
