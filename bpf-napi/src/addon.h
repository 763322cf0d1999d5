// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace bpf_napi {

/** State of the addon for one JavaScript environment, which corresponds to a thread. */
struct AddonData {
  Napi::FunctionReference object_class;
};

void InitObject(Napi::Env env, Napi::Object exports);
void InitRing(Napi::Env env, Napi::Object exports);
void InitNetns(Napi::Env env, Napi::Object exports);
void InitNetlink(Napi::Env env, Napi::Object exports);
void InitSubscription(Napi::Env env, Napi::Object exports);
void InitSystem(Napi::Env env, Napi::Object exports);
void InitProcess(Napi::Env env, Napi::Object exports);

}  // namespace bpf_napi
