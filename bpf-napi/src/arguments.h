// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/libbpf.h>
#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "object_handle.h"

namespace bpf_napi {

/** Returns the program with the name in an argument; throws if the object has no such program. */
bpf_program* FindProgram(Napi::Env env, const ObjectHandle& handle, const Napi::Value& name, const char* operation);

/** Returns a map index after checking its range, or throws. */
size_t MapIndex(Napi::Env env, const ObjectHandle& handle, const Napi::Value& value, const char* operation);

bpf_map* FindMap(Napi::Env env, const ObjectHandle& handle, const Napi::Value& value, const char* operation);

/** Returns the bytes of a typed array argument, or throws if it has fewer than `bytes`. */
uint8_t* Bytes(Napi::Env env, const Napi::Value& value, size_t bytes, const char* operation, const std::string& what);

}  // namespace bpf_napi
