// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "arguments.h"
#include "error.h"
#include "object.h"

/* Accesses the maps and variables of an object. */

namespace bpf_napi {

void BpfObjectWrap::SetAutocreate(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "choose");
  bpf_map* map = FindMap(info.Env(), handle, info[0], "choose");
  const int error = bpf_map__set_autocreate(map, info[1].As<Napi::Boolean>());
  if (error != 0) Throw(info.Env(), "choose", -error, bpf_map__name(map));
}

void BpfObjectWrap::SetMaxEntries(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "size");
  bpf_map* map = FindMap(info.Env(), handle, info[0], "size");
  const int error = bpf_map__set_max_entries(map, info[1].As<Napi::Number>().Uint32Value());
  if (error != 0) Throw(info.Env(), "size", -error, bpf_map__name(map));
}

void BpfObjectWrap::SetOnDemand(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = Open(info.Env(), "set up");
  bpf_map* map = FindMap(info.Env(), handle, info[0], "set up");
  const int error = bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_NO_PREALLOC);
  if (error != 0) Throw(info.Env(), "set up", -error, bpf_map__name(map));
}

/** Replaces a map of this object with an existing map, given by its descriptor. Returns the map's number of entries. */
Napi::Value BpfObjectWrap::ReuseMap(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = Open(env, "reuse");
  bpf_map* map = FindMap(env, handle, info[0], "reuse");
  const std::string name = bpf_map__name(map);
  if (handle.load_begun()) Throw(env, "reuse", EBUSY, name, "the object is loaded");
  const int fd = info[1].As<Napi::Number>().Int32Value();
  bpf_map_info other = {};
  __u32 size = sizeof(other);
  int error = bpf_obj_get_info_by_fd(fd, &other, &size);
  if (error != 0) Throw(env, "reuse", -error, name, "the other object is not loaded");
  // libbpf accepts any map. With another layout, programs would fail to load or read wrong data.
  const auto expect = [&](const char* what, uint32_t own, uint32_t others) {
    if (own == others) return;
    Throw(env, "reuse", EINVAL, name,
          std::string(what) + " is " + std::to_string(own) + " but " + std::to_string(others) + " in the other map");
  };
  expect("the type", bpf_map__type(map), other.type);
  expect("the size of a key", bpf_map__key_size(map), other.key_size);
  expect("the size of a value", bpf_map__value_size(map), other.value_size);
  LogCapture log;
  error = bpf_map__reuse_fd(map, fd);
  if (error != 0) Throw(env, "reuse", -error, name, log.take());
  return Napi::Number::New(env, other.max_entries);
}

Napi::Value BpfObjectWrap::MapFd(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = OpenForUse(info.Env(), "ask");
  return Napi::Number::New(info.Env(), bpf_map__fd(FindMap(info.Env(), handle, info[0], "ask")));
}

Napi::Value BpfObjectWrap::Lookup(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "look up");
  bpf_map* map = FindMap(env, handle, info[0], "look up");
  const std::string name = bpf_map__name(map);
  const uint8_t* key = Bytes(env, info[1], bpf_map__key_size(map), "look up", name);
  uint8_t* value = Bytes(env, info[2], ValueBytes(map), "look up", name);
  if (bpf_map_lookup_elem(bpf_map__fd(map), key, value) == 0) return Napi::Boolean::New(env, true);
  if (errno != ENOENT) Throw(env, "look up", errno, name);
  return Napi::Boolean::New(env, false);
}

void BpfObjectWrap::Update(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "update");
  bpf_map* map = FindMap(env, handle, info[0], "update");
  const std::string name = bpf_map__name(map);
  const uint8_t* key = Bytes(env, info[1], bpf_map__key_size(map), "update", name);
  const uint8_t* value = Bytes(env, info[2], ValueBytes(map), "update", name);
  if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY) != 0) Throw(env, "update", errno, name);
}

Napi::Value BpfObjectWrap::Delete(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "delete");
  bpf_map* map = FindMap(env, handle, info[0], "delete");
  const std::string name = bpf_map__name(map);
  const uint8_t* key = Bytes(env, info[1], bpf_map__key_size(map), "delete", name);
  if (bpf_map_delete_elem(bpf_map__fd(map), key) == 0) return Napi::Boolean::New(env, true);
  if (errno != ENOENT) Throw(env, "delete", errno, name);
  return Napi::Boolean::New(env, false);
}

namespace {

/*
 * Copies entries one by one. `*entries` is the maximum number on input, and the actual number on output. Returns 0 or
 * an errno.
 */
int CopyByKeys(int fd, size_t key_bytes, size_t value_bytes, uint8_t* keys, uint8_t* values, __u32* entries) {
  const __u32 capacity = *entries;
  const uint8_t* previous = nullptr;
  for (*entries = 0; *entries < capacity;) {
    uint8_t* key = keys + *entries * key_bytes;
    if (bpf_map_get_next_key(fd, previous, key) != 0) return errno == ENOENT ? 0 : errno;
    previous = key;
    if (bpf_map_lookup_elem(fd, key, values + *entries * value_bytes) == 0) {
      ++*entries;
    } else if (errno != ENOENT) {
      return errno;
    } else {
      // The previous entry was removed in the meantime. With its key, the kernel would start over.
      return 0;
    }
  }
  return 0;
}

}  // namespace

/** Returns the number of copied entries; -1 if there may be more entries than the buffer can hold. */
Napi::Value BpfObjectWrap::Dump(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "dump");
  bpf_map* map = FindMap(env, handle, info[0], "dump");
  const std::string name = bpf_map__name(map);
  const size_t key_bytes = bpf_map__key_size(map), value_bytes = ValueBytes(map);
  const __u32 capacity = info[2].As<Napi::Number>().Uint32Value();
  const bool has_all_room = capacity >= bpf_map__max_entries(map);
  const size_t values_at = RoundUp8(capacity * key_bytes);
  uint8_t* target = Bytes(env, info[1], values_at + capacity * value_bytes, "dump", name);
  // Receives the position (a bucket number or a key) at which the kernel would continue. Not needed, because the caller
  // repeats an incomplete copy from the beginning with a larger buffer.
  std::vector<uint8_t> cursor(std::max(key_bytes, sizeof(__u64)));
  __u32 entries = capacity;
  const int fd = bpf_map__fd(map);
  int error = bpf_map_lookup_batch(fd, nullptr, cursor.data(), target, target + values_at, &entries, nullptr);
  bool is_end = error == -ENOENT;
  // Per-CPU arrays do not support batch operations before 5.13.
  if (error == -kKernelNotSupported) {
    entries = capacity;
    error = -CopyByKeys(fd, key_bytes, value_bytes, target, target + values_at, &entries);
    is_end = error == 0 && entries < capacity;
  }
  // A full buffer does not prove that the copy is complete: entries that moved during the copy may have been copied
  // twice, and others not at all.
  if (!is_end && !has_all_room && (error == 0 || error == -ENOSPC)) return Napi::Number::New(env, -1);
  if (error != 0 && error != -ENOENT) Throw(env, "dump", -error, name);
  return Napi::Number::New(env, entries);
}

void BpfObjectWrap::ReadMapped(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "read");
  const size_t index = MapIndex(env, handle, info[0], "read");
  const size_t bytes = info[2].As<Napi::Number>().Uint32Value();
  uint8_t* target = Bytes(env, info[1], bytes, "read", bpf_map__name(handle.maps()[index]));
  const void* memory = handle.Mapped(index, 0, bytes, PROT_READ);
  if (memory == nullptr) Throw(env, "read", errno, bpf_map__name(handle.maps()[index]));
  memcpy(target, memory, bytes);
}

namespace {

template <typename Word>
bool StoreWord(uint8_t*& target, const uint8_t*& source, size_t& bytes) {
  if (bytes < sizeof(Word) || reinterpret_cast<uintptr_t>(target) % sizeof(Word) != 0) return false;
  Word word;
  memcpy(&word, source, sizeof(word));
  __atomic_store_n(reinterpret_cast<Word*>(target), word, __ATOMIC_RELEASE);
  target += sizeof(word);
  source += sizeof(word);
  bytes -= sizeof(word);
  return true;
}

/**
 * Stores the bytes as aligned words that are as long as possible. Each word is stored atomically because programs may
 * read it concurrently.
 */
void StoreWords(uint8_t* target, const uint8_t* source, size_t bytes) {
  while (bytes > 0) {
    StoreWord<uint64_t>(target, source, bytes) || StoreWord<uint32_t>(target, source, bytes) ||
        StoreWord<uint16_t>(target, source, bytes) || StoreWord<uint8_t>(target, source, bytes);
  }
}

}  // namespace

void BpfObjectWrap::WriteMapped(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "write");
  const size_t index = MapIndex(env, handle, info[0], "write");
  const std::string name = bpf_map__name(handle.maps()[index]);
  const int64_t offset = info[1].As<Napi::Number>().Int64Value();
  const auto source = info[2].As<Napi::Uint8Array>();
  if (offset < 0) Throw(env, "write", EINVAL, name, "offset " + std::to_string(offset));
  auto* memory = static_cast<uint8_t*>(handle.Mapped(index, offset, source.ByteLength(), PROT_READ | PROT_WRITE));
  if (memory == nullptr) Throw(env, "write", errno, name);
  StoreWords(memory, source.Data(), source.ByteLength());
}

void BpfObjectWrap::SetVariable(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = OpenForUse(info.Env(), "set");
  const std::string name = info[0].As<Napi::String>();
  const std::string subject = "variable " + name + " of " + handle.name();
  const Variable variable = FindVariable(handle.object(), name);
  if (variable.at == nullptr) Throw(info.Env(), "set", ENOENT, subject);
  const bool loaded = bpf_map__fd(variable.map) >= 0;
  if (loaded && variable.constant) Throw(info.Env(), "set", EBUSY, subject, "the object is loaded");
  uint64_t value = 0;
  const uint8_t* source = reinterpret_cast<const uint8_t*>(&value);  // all supported architectures are little-endian
  if (info[1].IsBigInt()) {
    bool lossless = false;
    value = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
    if (variable.bytes > sizeof(value)) Throw(info.Env(), "set", EINVAL, subject, "is not a number");
    if (!lossless || (variable.bytes < sizeof(value) && value >> (8 * variable.bytes) != 0)) {
      Throw(info.Env(), "set", ERANGE, subject);
    }
  } else {
    const auto bytes = info[1].As<Napi::Uint8Array>();
    if (bytes.ByteLength() != variable.bytes) {
      Throw(info.Env(), "set", EINVAL, subject, "has " + std::to_string(variable.bytes) + " bytes");
    }
    source = bytes.Data();
  }
  if (!loaded) {
    memcpy(variable.at, source, variable.bytes);
    return;
  }
  const size_t index = std::find(handle.maps().begin(), handle.maps().end(), variable.map) - handle.maps().begin();
  void* memory = handle.Mapped(index, variable.offset, variable.bytes, PROT_READ | PROT_WRITE);
  if (memory == nullptr) Throw(info.Env(), "set", errno, subject);
  StoreWords(static_cast<uint8_t*>(memory), source, variable.bytes);
}

}  // namespace bpf_napi
