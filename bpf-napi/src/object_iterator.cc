// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "attachment.h"
#include "error.h"
#include "object.h"
#include "unique_fd.h"

/* Reads the output of an object's iterators. */

namespace bpf_napi {

namespace {

// The kernel returns at most 32 KiB per read (bpf_seq_read() in kernel/bpf/bpf_iter.c).
constexpr size_t kFirstBytes = 64 * 1024;

/**
 * A running iterator. The link must exist until the end of the run because before 6.0 nothing else keeps the map alive.
 */
struct Walk {
  std::unique_ptr<LinkAttachment> link;
  UniqueFd fd;
  size_t bytes_max = 0;
  std::string program;
};

/** Starts an iterator in this thread's network namespace. */
Walk Begin(const Napi::CallbackInfo& info, const ObjectHandle& handle) {
  Napi::Env env = info.Env();
  bpf_program* program = FindProgram(env, handle, info[0], "iterate");
  Walk walk;
  walk.bytes_max = info[1].As<Napi::Number>().Uint32Value();
  walk.program = bpf_program__name(program);
  bpf_iter_link_info target = {};
  LIBBPF_OPTS(bpf_iter_attach_opts, options);
  if (info[2].IsNumber()) {
    target.map.map_fd = info[2].As<Napi::Number>().Uint32Value();
    options.link_info = &target;
    options.link_info_len = sizeof(target);
  }
  LogCapture log;
  bpf_link* link = bpf_program__attach_iter(program, &options);
  if (link == nullptr) {
    const int error = errno;
    const char* hint = error == EBADF ? "the map to walk is missing or not loaded\n" : "";
    Throw(env, "iterate", error, walk.program, hint + log.take());
  }
  walk.link = std::make_unique<LinkAttachment>(link);
  walk.fd.reset(bpf_iter_create(bpf_link__fd(link)));
  if (!walk.fd) Throw(env, "iterate", errno, walk.program);
  return walk;
}

Failure Finish(const Walk& walk, std::vector<uint8_t>& bytes) {
  size_t used = 0;
  for (;;) {
    // One byte more than allowed, so that output of the maximum size can be distinguished from longer output.
    if (used == bytes.size()) bytes.resize(std::min(std::max(2 * used, kFirstBytes), walk.bytes_max + 1));
    const ssize_t count = read(walk.fd.get(), bytes.data() + used, bytes.size() - used);
    // The kernel returns EAGAIN after a million entries without output. The next read continues after them.
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) return {"iterate", errno, walk.program};
    if (count == 0) break;
    used += count;
    if (used > walk.bytes_max) {
      return {"iterate", ENOBUFS, walk.program, "more than " + std::to_string(walk.bytes_max) + " bytes"};
    }
  }
  bytes.resize(used);
  return {};
}

Napi::Value ToBytes(Napi::Env env, const std::vector<uint8_t>& bytes) {
  Napi::Uint8Array copy = Napi::Uint8Array::New(env, bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.Data());
  return copy;
}

class WalkWorker final : public Napi::AsyncWorker {
 public:
  WalkWorker(Napi::Env env, Walk walk) : AsyncWorker(env), deferred_(env), walk_(std::move(walk)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    failure_ = Finish(walk_, bytes_);
    walk_ = {};
  }

  void OnOK() override {
    if (failure_.failed()) {
      deferred_.Reject(ToError(Env(), failure_).Value());
    } else {
      deferred_.Resolve(ToBytes(Env(), bytes_));
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  Walk walk_;
  std::vector<uint8_t> bytes_;
  Failure failure_;
};

}  // namespace

Napi::Value BpfObjectWrap::ReadIterator(const Napi::CallbackInfo& info) {
  const Walk walk = Begin(info, OpenForUse(info.Env(), "iterate"));
  std::vector<uint8_t> bytes;
  const Failure failure = Finish(walk, bytes);
  if (failure.failed()) throw ToError(info.Env(), failure);
  return ToBytes(info.Env(), bytes);
}

Napi::Value BpfObjectWrap::ReadIteratorAsync(const Napi::CallbackInfo& info) {
  auto* worker = new WalkWorker(info.Env(), Begin(info, OpenForUse(info.Env(), "iterate")));
  Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace bpf_napi
