// SPDX-License-Identifier: Apache-2.0
#include "object_handle.h"

#include <bpf/btf.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace bpf_napi {

namespace {

bool IsPerCpu(const bpf_map* map) {
  switch (bpf_map__type(map)) {
    case BPF_MAP_TYPE_PERCPU_ARRAY:
    case BPF_MAP_TYPE_PERCPU_HASH:
    case BPF_MAP_TYPE_LRU_PERCPU_HASH:
      return true;
    default:
      return false;
  }
}

bool EndsWith(const char* text, const char* end) {
  const size_t length = strlen(text), end_length = strlen(end);
  return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/** Returns a variable of a section; `at` is null if there is none. */
Variable FindIn(const bpf_object* object, const char* section_name, const std::string& name) {
  const struct btf* btf = bpf_object__btf(object);
  const int section = btf == nullptr ? -ENOENT : btf__find_by_name_kind(btf, section_name, BTF_KIND_DATASEC);
  bpf_map* map;
  bpf_object__for_each_map(map, object) {
    const char* map_name = bpf_map__name(map);
    // libbpf names this map after the object (truncated) and the section. `.rodata.str1.1` is another section.
    if (map_name != nullptr && EndsWith(map_name, section_name)) break;
  }
  if (section < 0 || map == nullptr) return {};
  size_t section_bytes = 0;
  auto* data = static_cast<uint8_t*>(const_cast<void*>(bpf_map__initial_value(map, &section_bytes)));
  const btf_type* type = btf__type_by_id(btf, section);
  const btf_var_secinfo* variable = btf_var_secinfos(type);
  for (int i = 0; i < btf_vlen(type); i++, variable++) {
    const btf_type* declared = btf__type_by_id(btf, variable->type);
    if (name != btf__name_by_offset(btf, declared->name_off)) continue;
    if (variable->offset + variable->size > section_bytes) break;
    return {data + variable->offset, variable->size, map, variable->offset};
  }
  return {};
}

}  // namespace

size_t RoundUp8(size_t bytes) { return (bytes + 7) & ~size_t{7}; }

size_t ValueBytes(const bpf_map* map) {
  const size_t size = bpf_map__value_size(map);
  return IsPerCpu(map) ? RoundUp8(size) * libbpf_num_possible_cpus() : size;
}

Variable FindVariable(const bpf_object* object, const std::string& name) {
  const Variable constant = FindIn(object, ".rodata", name);
  if (constant.at == nullptr) return FindIn(object, ".data", name);
  return {constant.at, constant.bytes, constant.map, constant.offset, true};
}

void ObjectHandle::Index() {
  bpf_map* map;
  bpf_object__for_each_map(map, object_) maps_.push_back(map);
  bpf_program* program;
  bpf_object__for_each_program(program, object_) programs_.push_back(program);
}

void* ObjectHandle::Mapped(size_t map, size_t offset, size_t bytes, int protection) {
  const std::pair<size_t, int> key{map, protection};
  auto found = mappings_.find(key);
  const size_t whole = RoundUp8(bpf_map__value_size(maps_[map])) * bpf_map__max_entries(maps_[map]);
  if (offset > whole || bytes > whole - offset) {
    errno = EINVAL;
    return nullptr;
  }
  if (found == mappings_.end()) {
    void* address = mmap(nullptr, whole, protection, MAP_SHARED, bpf_map__fd(maps_[map]), 0);
    if (address == MAP_FAILED) return nullptr;
    found = mappings_.emplace(key, Mapping{static_cast<uint8_t*>(address), whole}).first;
  }
  return found->second.address + offset;
}

void ObjectHandle::Release() {
  types_.reset();
  attachments_.Clear();
  for (const auto& [map, mapping] : mappings_) munmap(mapping.address, mapping.bytes);
  mappings_.clear();
  maps_.clear();
  programs_.clear();
  bpf_object__close(std::exchange(object_, nullptr));
}

}  // namespace bpf_napi
