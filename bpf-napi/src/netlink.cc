// SPDX-License-Identifier: Apache-2.0
#include <linux/netlink.h>
#include <napi.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "addon.h"
#include "error.h"
#include "unique_fd.h"

namespace bpf_napi {

namespace {

// The kernel fills a dump's datagram up to 32 KiB, more only for a single message that is longer.
constexpr size_t kDatagramBytes = 64 * 1024;
constexpr int kTimeoutSeconds = 2;

struct Dump {
  std::vector<uint8_t> messages;
  bool interrupted = false;
};

enum class Progress { kMore, kDone };

/** Looks only at what ends a dump; everything else is copied for JavaScript to decode. */
Progress Take(Dump& dump, const uint8_t* data, size_t size, uint32_t sequence, size_t bytes_max, Failure& failure) {
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
    if (header.nlmsg_seq != sequence) continue;
    if (header.nlmsg_flags & NLM_F_DUMP_INTR) dump.interrupted = true;
    single = single || (header.nlmsg_flags & NLM_F_MULTI) == 0;
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
      int32_t error = 0;
      if (length >= sizeof(header) + sizeof(error)) memcpy(&error, data + start + sizeof(header), sizeof(error));
      if (error != 0) failure = {"dump", -error, "netlink"};
      return Progress::kDone;
    }
    if (dump.messages.size() + NLMSG_ALIGN(length) > bytes_max) {
      failure = {"dump", ENOBUFS, "netlink", "more than " + std::to_string(bytes_max) + " bytes"};
      return Progress::kDone;
    }
    dump.messages.insert(dump.messages.end(), data + start, data + start + length);
    dump.messages.resize(NLMSG_ALIGN(dump.messages.size()));
  }
  return single ? Progress::kDone : Progress::kMore;
}

Failure Receive(int fd, uint32_t sequence, size_t bytes_max, Dump& dump) {
  static thread_local std::vector<uint8_t> datagram(kDatagramBytes);
  Failure failure;
  for (;;) {
    const ssize_t size = recv(fd, datagram.data(), datagram.size(), MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return {"dump", errno, "netlink"};
    if (static_cast<size_t>(size) > datagram.size()) return {"dump", EMSGSIZE, "netlink"};
    if (Take(dump, datagram.data(), size, sequence, bytes_max, failure) == Progress::kDone) return failure;
  }
}

/**
 * Sends one request from a new socket in the namespace that this thread is in, and collects the answer. The
 * socket is closed again: an open one would keep the namespace alive.
 */
Napi::Value NetlinkDump(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const int protocol = info[0].As<Napi::Number>().Int32Value();
  auto request = info[1].As<Napi::Uint8Array>();
  const size_t bytes_max = info[2].As<Napi::Number>().Uint32Value();
  if (request.ByteLength() < sizeof(nlmsghdr)) Throw(env, "dump", EINVAL, "netlink", "the request has no header");
  nlmsghdr header;
  memcpy(&header, request.Data(), sizeof(header));

  const UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) Throw(env, "connect", errno, "netlink");
  const timeval timeout = {kTimeoutSeconds, 0};
  if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0) {
    Throw(env, "connect", errno, "netlink");
  }
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  if (sendto(fd.get(), request.Data(), request.ByteLength(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel)) <
      0) {
    Throw(env, "send", errno, "netlink");
  }
  Dump dump;
  const Failure failure = Receive(fd.get(), header.nlmsg_seq, bytes_max, dump);
  if (failure.failed()) throw ToError(env, failure);

  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, dump.messages.size());
  std::copy(dump.messages.begin(), dump.messages.end(), static_cast<uint8_t*>(buffer.Data()));
  Napi::Object result = Napi::Object::New(env);
  result.Set("messages", Napi::Uint8Array::New(env, dump.messages.size(), buffer, 0));
  result.Set("interrupted", dump.interrupted);
  return result;
}

}  // namespace

void InitNetlink(Napi::Env env, Napi::Object exports) {
  exports.Set("netlinkDump", Napi::Function::New<NetlinkDump>(env, "netlinkDump"));
}

}  // namespace bpf_napi
