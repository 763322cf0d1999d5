// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>

#include <cerrno>
#include <string>

#include "arguments.h"
#include "error.h"
#include "object.h"

/* Runs programs of an object with BPF_PROG_TEST_RUN. */

namespace bpf_napi {

Napi::Value BpfObjectWrap::Run(const Napi::CallbackInfo& info) {
  ObjectHandle& handle = OpenForUse(info.Env(), "run");
  bpf_program* program = FindProgram(info.Env(), handle, info[0], "run");
  auto arguments = info[1].As<Napi::BigUint64Array>();
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = arguments.Data(),
              .ctx_size_in = static_cast<__u32>(arguments.ByteLength()));
  const int error = bpf_prog_test_run_opts(bpf_program__fd(program), &options);
  if (error != 0) Throw(info.Env(), "run", -error, bpf_program__name(program));
  return Napi::Number::New(info.Env(), options.retval);
}

Napi::Value BpfObjectWrap::RunPacket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ObjectHandle& handle = OpenForUse(env, "run");
  bpf_program* program = FindProgram(env, handle, info[0], "run");
  const std::string name = bpf_program__name(program);
  const auto packet = info[1].As<Napi::Uint8Array>();
  auto left = info[2].As<Napi::Uint8Array>();
  // The kernel does not check the size of an empty buffer.
  if (left.ByteLength() == 0) Throw(env, "run", EINVAL, name, "the buffer for the resulting packet is empty");
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.Data(), .data_out = left.Data(),
              .data_size_in = static_cast<__u32>(packet.ByteLength()),
              .data_size_out = static_cast<__u32>(left.ByteLength()),
              .repeat = static_cast<int>(info[3].As<Napi::Number>().Uint32Value()));
  const int error = bpf_prog_test_run_opts(bpf_program__fd(program), &options);
  if (error == -ENOSPC) {
    Throw(env, "run", ENOSPC, name,
          "the resulting packet has " + std::to_string(options.data_size_out) + " bytes but the buffer only " +
              std::to_string(left.ByteLength()));
  }
  // The kernel returns EFAULT for tracing programs, and ENOTSUPP for program types that do not support test runs.
  if (error == -EINVAL || error == -EFAULT || error == -kKernelNotSupported) {
    Throw(env, "run", EINVAL, name,
          "needs a program of a type that processes packets, and an Ethernet frame of 14 bytes to about a page, "
          "not " +
              std::to_string(packet.ByteLength()));
  }
  if (error != 0) Throw(env, "run", -error, name);
  Napi::Object run = Napi::Object::New(env);
  run.Set("result", Napi::Number::New(env, options.retval));
  run.Set("bytes", Napi::Number::New(env, options.data_size_out));
  run.Set("nanoseconds", Napi::Number::New(env, options.duration));
  return run;
}

}  // namespace bpf_napi
