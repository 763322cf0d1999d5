// SPDX-License-Identifier: Apache-2.0
#include "arguments.h"

#include <cerrno>

#include "error.h"

namespace bpf_napi {

bpf_program* FindProgram(Napi::Env env, const ObjectHandle& handle, const Napi::Value& name, const char* operation) {
  const std::string text = name.As<Napi::String>();
  bpf_program* program = bpf_object__find_program_by_name(handle.object(), text.c_str());
  if (program == nullptr) Throw(env, operation, ENOENT, "program " + text + " of " + handle.name());
  return program;
}

size_t MapIndex(Napi::Env env, const ObjectHandle& handle, const Napi::Value& value, const char* operation) {
  const size_t index = value.As<Napi::Number>().Uint32Value();
  if (index >= handle.maps().size()) Throw(env, operation, ENOENT, "map of " + handle.name());
  return index;
}

bpf_map* FindMap(Napi::Env env, const ObjectHandle& handle, const Napi::Value& value, const char* operation) {
  return handle.maps()[MapIndex(env, handle, value, operation)];
}

uint8_t* Bytes(Napi::Env env, const Napi::Value& value, size_t bytes, const char* operation, const std::string& what) {
  auto array = value.As<Napi::Uint8Array>();
  if (array.ByteLength() < bytes) {
    Throw(env, operation, EINVAL, what,
          "needs " + std::to_string(bytes) + " bytes, got " + std::to_string(array.ByteLength()));
  }
  return array.Data();
}

}  // namespace bpf_napi
