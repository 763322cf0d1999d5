// SPDX-License-Identifier: Apache-2.0
#include "wanted_types.h"

#include <cstring>

#include "btf.h"

namespace bpf_napi {

namespace {

/** Same as struct bpf_core_relo in include/uapi/linux/bpf.h, which older kernel headers do not define. */
struct CoreRelocation {
  uint32_t instruction;
  uint32_t type;
  uint32_t access;
  uint32_t kind;
};
/** BPF_CORE_TYPE_ID_TARGET of enum bpf_core_relo_kind. */
constexpr uint32_t kTypeIdTarget = 7;

/** Returns a type's name without the suffix that starts with `___` (libbpf: bpf_core_essential_name_len). */
std::string EssentialName(const char* name) {
  const char* end = strstr(name, "___");
  return end == nullptr || end == name ? name : std::string(name, end);
}

}  // namespace

KindAndName TargetOfSection(const std::string& section) {
  for (const Target& target : kTargets) {
    const size_t length = strlen(target.section);
    if (section.compare(0, length, target.section) == 0) return {target.kind, target.prefix + section.substr(length)};
  }
  return {};
}

bool ReadWanted(const File& file, Wanted& wanted) {
  Btf local;
  const auto [types, types_length] = ElfSection(file, ".BTF");
  const auto [extension, length] = ElfSection(file, ".BTF.ext");
  // The header must contain the offset of the relocations. Objects without relocations may have a shorter header.
  std::array<uint32_t, 8> header;
  if (types == nullptr || length < sizeof(header) || !local.Parse(types, types_length)) return false;
  memcpy(header.data(), extension, sizeof(header));
  const uint64_t header_bytes = header[1];
  if (header_bytes < sizeof(header)) return false;
  const auto each_record = [&](uint32_t offset, uint32_t bytes, const auto& visit) {
    uint64_t at = header_bytes + offset;
    const uint64_t end = at + bytes;
    if (bytes == 0) return true;
    if (end > length) return false;
    uint32_t record_bytes;
    memcpy(&record_bytes, extension + at, sizeof(record_bytes));
    if (record_bytes < 2 * sizeof(uint32_t)) return false;
    for (at += sizeof(record_bytes); at + 2 * sizeof(uint32_t) <= end;) {
      std::array<uint32_t, 2> group;
      memcpy(group.data(), extension + at, sizeof(group));
      at += sizeof(group);
      if ((end - at) / record_bytes < group[1]) return false;
      for (uint32_t index = 0; index < group[1]; index++, at += record_bytes) {
        if (!visit(local.name(group[0]), extension + at, record_bytes)) return false;
      }
    }
    return true;
  };
  const auto program = [&](const char* section, const uint8_t*, uint32_t) {
    const KindAndName target = TargetOfSection(section);
    if (!target.second.empty()) wanted.targets.insert(target);
    return true;
  };
  const auto relocation = [&](const char*, const uint8_t* bytes, uint32_t record_bytes) {
    CoreRelocation record;
    if (record_bytes < sizeof(record)) return false;
    memcpy(&record, bytes, sizeof(record));
    if (record.type == 0 || record.type >= local.size()) return false;
    const btf_type& type = local.type(record.type);
    if (record.kind == kTypeIdTarget) wanted.ids = true;
    wanted.types.insert({PlainKind(BTF_INFO_KIND(type.info)), EssentialName(local.name(type.name_off))});
    return true;
  };
  return each_record(header[2], header[3], program) && each_record(header[6], header[7], relocation);
}

}  // namespace bpf_napi
