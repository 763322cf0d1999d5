// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/libbpf.h>
#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "object_handle.h"

namespace bpf_napi {

/** The program that an argument names, or throws. */
bpf_program* FindProgram(Napi::Env env, const ObjectHandle& handle, const Napi::Value& name, const char* operation);

/** The index of a map, checked, or throws. */
size_t MapIndex(Napi::Env env, const ObjectHandle& handle, const Napi::Value& value, const char* operation);

bpf_map* FindMap(Napi::Env env, const ObjectHandle& handle, const Napi::Value& value, const char* operation);

/** Bytes of a typed array argument, which must hold at least `bytes`. */
uint8_t* Bytes(Napi::Env env, const Napi::Value& value, size_t bytes, const char* operation, const std::string& what);

}  // namespace bpf_napi
