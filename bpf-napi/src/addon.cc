// SPDX-License-Identifier: Apache-2.0
#include "addon.h"

#include <mutex>

#include "error.h"

namespace bpf_napi {

namespace {

std::once_flag log_redirected;

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  std::call_once(log_redirected, RedirectLibbpfLog);
  env.SetInstanceData(new AddonData);
  InitObject(env, exports);
  InitRing(env, exports);
  InitNetns(env, exports);
  InitNetlink(env, exports);
  InitSubscription(env, exports);
  InitSystem(env, exports);
  InitProcess(env, exports);
  InitPackets(env, exports);
  InitPcap(env, exports);
  InitEcho(env, exports);
  return exports;
}

NODE_API_MODULE(bpf_napi, Init)

}  // namespace

}  // namespace bpf_napi
