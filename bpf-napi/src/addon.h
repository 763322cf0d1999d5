// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace bpf_napi {

/** Per-environment state of the addon. Node creates one JavaScript environment per thread. */
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
void InitPackets(Napi::Env env, Napi::Object exports);
void InitPcap(Napi::Env env, Napi::Object exports);
void InitEcho(Napi::Env env, Napi::Object exports);

}  // namespace bpf_napi
