// SPDX-License-Identifier: Apache-2.0
#include <linux/netlink.h>
#include <napi.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "addon.h"
#include "error.h"
#include "unique_fd.h"

namespace bpf_napi {

namespace {

// Datagrams of a dump contain up to 32 KiB, unless a single message is longer.
constexpr size_t kDatagramBytes = 64 * 1024;
constexpr int kTimeoutSeconds = 2;
// Maximum number of datagrams from other senders. Prevents a process that floods the socket from keeping this loop
// running forever.
constexpr int kForeignMax = 10000;

struct Dump {
  std::vector<uint8_t> messages;
  bool interrupted = false;
};

/**
 * A request that was sent on a socket of its own. The socket is closed after the response because an open socket keeps
 * its namespace alive.
 */
struct Question {
  UniqueFd fd;
  uint32_t sequence = 0;
  bool is_dump = false;
  size_t bytes_max = 0;
};

enum class Progress { kMore, kDone };

/**
 * Copies messages, which JavaScript decodes later. Detects only errors, interrupted dumps and the end of the response.
 */
Progress Take(Dump& dump, const uint8_t* data, size_t size, const Question& question, Failure& failure) {
  bool single = false;
  for (size_t at = 0; at + sizeof(nlmsghdr) <= size;) {
    nlmsghdr header;
    memcpy(&header, data + at, sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > size - at) {
      failure = {"dump", EBADMSG, "netlink", "a message is longer than its datagram"};
      return Progress::kDone;
    }
    const size_t length = header.nlmsg_len;
    const size_t start = at;
    at += NLMSG_ALIGN(length);
    if (header.nlmsg_seq != question.sequence) continue;
    if (header.nlmsg_flags & NLM_F_DUMP_INTR) dump.interrupted = true;
    // Without NLM_F_DUMP, the response is a single message. ctnetlink sets NLM_F_MULTI in some of these
    // (IPCTNL_MSG_CT_GET_STATS), but sends no NLMSG_DONE.
    single = single || !question.is_dump || (header.nlmsg_flags & NLM_F_MULTI) == 0;
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
      int32_t error = 0;
      if (length >= sizeof(header) + sizeof(error)) memcpy(&error, data + start + sizeof(header), sizeof(error));
      if (error != 0) failure = {"dump", -error, "netlink"};
      return Progress::kDone;
    }
    if (dump.messages.size() + NLMSG_ALIGN(length) > question.bytes_max) {
      failure = {"dump", ENOBUFS, "netlink", "more than " + std::to_string(question.bytes_max) + " bytes"};
      return Progress::kDone;
    }
    dump.messages.insert(dump.messages.end(), data + start, data + start + length);
    dump.messages.resize(NLMSG_ALIGN(dump.messages.size()));
  }
  return single ? Progress::kDone : Progress::kMore;
}

Failure Receive(const Question& question, Dump& dump) {
  static thread_local std::vector<uint8_t> datagram(kDatagramBytes);
  Failure failure;
  for (int foreign = 0;;) {
    sockaddr_nl sender = {};
    socklen_t sender_bytes = sizeof(sender);
    const ssize_t size = recvfrom(question.fd.get(), datagram.data(), datagram.size(), MSG_TRUNC,
                                  reinterpret_cast<sockaddr*>(&sender), &sender_bytes);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return {"dump", errno, "netlink"};
    if (sender.nl_pid != 0) {
      if (++foreign > kForeignMax)
        return {"dump", EBADMSG, "netlink", "too many messages from senders other than the kernel"};
      continue;
    }
    if (static_cast<size_t>(size) > datagram.size()) return {"dump", EMSGSIZE, "netlink"};
    if (Take(dump, datagram.data(), size, question, failure) == Progress::kDone) return failure;
  }
}

/** Sends a request in this thread's network namespace. */
Question Ask(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const int protocol = info[0].As<Napi::Number>().Int32Value();
  auto request = info[1].As<Napi::Uint8Array>();
  if (request.ByteLength() < sizeof(nlmsghdr)) Throw(env, "dump", EINVAL, "netlink", "the request has no header");
  nlmsghdr header;
  memcpy(&header, request.Data(), sizeof(header));

  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) Throw(env, "connect", errno, "netlink");
  const timeval timeout = {kTimeoutSeconds, 0};
  if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0) {
    Throw(env, "connect", errno, "netlink");
  }
  // A connected socket receives only from the kernel (kernel: net/netlink/af_netlink.c, netlink_getsockbyportid). If it
  // were not connected, any process with CAP_NET_ADMIN in the namespace could send forged responses.
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel)) != 0)
    Throw(env, "connect", errno, "netlink");
  if (send(fd.get(), request.Data(), request.ByteLength(), 0) < 0) Throw(env, "send", errno, "netlink");
  return {std::move(fd), header.nlmsg_seq, (header.nlmsg_flags & NLM_F_DUMP) != 0,
          info[2].As<Napi::Number>().Uint32Value()};
}

Napi::Object ToAnswer(Napi::Env env, const Dump& dump) {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, dump.messages.size());
  std::copy(dump.messages.begin(), dump.messages.end(), static_cast<uint8_t*>(buffer.Data()));
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("messages", Napi::Uint8Array::New(env, dump.messages.size(), buffer, 0));
  answer.Set("interrupted", dump.interrupted);
  return answer;
}

Napi::Value NetlinkDump(const Napi::CallbackInfo& info) {
  const Question question = Ask(info);
  Dump dump;
  const Failure failure = Receive(question, dump);
  if (failure.failed()) throw ToError(info.Env(), failure);
  return ToAnswer(info.Env(), dump);
}

/** Receives a response in libuv's pool. The socket remains in the namespace in which it was created. */
class DumpWorker : public Napi::AsyncWorker {
 public:
  DumpWorker(Napi::Env env, Question question) : AsyncWorker(env), deferred_(env), question_(std::move(question)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    failure_ = Receive(question_, dump_);
    question_.fd.reset();
  }

  void OnOK() override {
    if (failure_.failed()) {
      deferred_.Reject(ToError(Env(), failure_).Value());
    } else {
      deferred_.Resolve(ToAnswer(Env(), dump_));
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  Question question_;
  Dump dump_;
  Failure failure_;
};

Napi::Value NetlinkDumpAsync(const Napi::CallbackInfo& info) {
  auto* worker = new DumpWorker(info.Env(), Ask(info));
  Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace

void InitNetlink(Napi::Env env, Napi::Object exports) {
  exports.Set("netlinkDump", Napi::Function::New<NetlinkDump>(env, "netlinkDump"));
  exports.Set("netlinkDumpAsync", Napi::Function::New<NetlinkDumpAsync>(env, "netlinkDumpAsync"));
}

}  // namespace bpf_napi
