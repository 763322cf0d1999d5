// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <napi.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "addon.h"
#include "error.h"
#include "unique_fd.h"

namespace bpf_napi {

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint16_t kSequence = 1;
constexpr size_t kPacketBytesMax = 65536;

/** Result of an echo request. */
struct Outcome {
  const char* kind = "timeout";  // reply, error or timeout
  int type = 0;
  int code = 0;
  std::string from;
};

struct Target {
  sockaddr_storage address = {};
  socklen_t bytes = 0;
  bool is_v6 = false;
};

bool Parse(const std::string& text, Target& target) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&target.address);
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    target.bytes = sizeof(*v4);
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&target.address);
  target.is_v6 = inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1;
  v6->sin6_family = AF_INET6;
  target.bytes = sizeof(*v6);
  return target.is_v6;
}

std::string Describe(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof(text));
  } else if (address->sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text, sizeof(text));
  }
  return text;
}

uint16_t Checksum(const std::vector<uint8_t>& packet) {
  uint32_t sum = 0;
  for (size_t i = 0; i < packet.size(); i += 2) {
    sum += packet[i] << 8 | (i + 1 < packet.size() ? packet[i + 1] : 0);
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<uint16_t>(~sum));
}

std::vector<uint8_t> Request(bool is_v6, uint16_t id, size_t payload) {
  std::vector<uint8_t> packet(sizeof(icmphdr) + payload);
  icmphdr header = {};
  header.type = is_v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
  header.un.echo.id = id;
  header.un.echo.sequence = htons(kSequence);
  memcpy(packet.data(), &header, sizeof(header));
  // The kernel computes the checksum of ICMPv6.
  if (!is_v6) {
    const uint16_t checksum = Checksum(packet);
    memcpy(packet.data() + offsetof(icmphdr, checksum), &checksum, sizeof(checksum));
  }
  return packet;
}

/** Reads an ICMP error from the error queue. Returns whether there was one; `local` is the errno of a local error. */
bool ReadError(int fd, Outcome& outcome, int& local) {
  alignas(cmsghdr) char control[512];
  uint8_t data[256];
  iovec part = {data, sizeof(data)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return false;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    const bool is_error = (c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
                          (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR);
    if (!is_error) continue;
    auto* error = reinterpret_cast<sock_extended_err*>(CMSG_DATA(c));
    if (error->ee_origin == SO_EE_ORIGIN_LOCAL) {
      local = static_cast<int>(error->ee_errno);
      return true;
    }
    outcome.kind = "error";
    outcome.type = error->ee_type;
    outcome.code = error->ee_code;
    outcome.from = Describe(SO_EE_OFFENDER(error));
    return true;
  }
  return false;
}

/** Whether a received packet is the reply. A raw socket receives the replies to all programs. */
bool IsReply(const uint8_t* packet, size_t bytes, bool is_v6, bool is_raw, uint16_t id) {
  if (is_raw && !is_v6) {
    const size_t skip = bytes > 0 ? (packet[0] & 0xf) * 4u : 0;
    if (bytes < skip) return false;
    packet += skip;
    bytes -= skip;
  }
  icmphdr header = {};
  if (bytes < sizeof(header)) return false;
  memcpy(&header, packet, sizeof(header));
  const uint8_t expected = is_v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY;
  return header.type == expected && header.un.echo.sequence == htons(kSequence) && (!is_raw || header.un.echo.id == id);
}

/** Sends an echo request, and waits for the reply or for an ICMP error about it. */
Napi::Value Echo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string address = info[0].As<Napi::String>();
  const size_t payload = info[1].As<Napi::Number>().Uint32Value();
  const auto timeout = std::chrono::milliseconds(info[2].As<Napi::Number>().Int64Value());
  Target target;
  if (!Parse(address, target)) Throw(env, "echo", EINVAL, address);
  const int family = target.is_v6 ? AF_INET6 : AF_INET;
  const int protocol = target.is_v6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP);
  bool is_raw = false;
  UniqueFd fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, protocol));
  if (!fd) {
    // Without the right of net.ipv4.ping_group_range, a raw socket is needed.
    is_raw = true;
    fd = UniqueFd(socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol));
    if (!fd) Throw(env, "open echo socket", errno, address);
  }
  const int on = 1;
  if (target.is_v6) {
    setsockopt(fd.get(), SOL_IPV6, IPV6_RECVERR, &on, sizeof(on));
  } else {
    setsockopt(fd.get(), SOL_IP, IP_RECVERR, &on, sizeof(on));
  }
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&target.address), target.bytes) != 0) {
    Throw(env, "echo", errno, address);
  }
  const auto id = htons(static_cast<uint16_t>(getpid()));
  const auto request = Request(target.is_v6, id, payload);
  const auto start = Clock::now();
  if (send(fd.get(), request.data(), request.size(), 0) < 0) Throw(env, "echo", errno, address);
  std::vector<uint8_t> packet(kPacketBytesMax);
  Outcome outcome;
  for (;;) {
    const auto left = timeout - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
    if (left.count() <= 0) break;
    pollfd waiting = {fd.get(), POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(left.count())) <= 0) continue;
    if ((waiting.revents & POLLERR) != 0) {
      int local = 0;
      if (ReadError(fd.get(), outcome, local)) {
        if (local != 0) Throw(env, "echo", local, address);
        break;
      }
    }
    const ssize_t bytes = recv(fd.get(), packet.data(), packet.size(), MSG_DONTWAIT);
    if (bytes > 0 && IsReply(packet.data(), static_cast<size_t>(bytes), target.is_v6, is_raw, id)) {
      outcome.kind = "reply";
      break;
    }
  }
  const double ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  Napi::Object result = Napi::Object::New(env);
  result.Set("kind", outcome.kind);
  result.Set("ms", ms);
  result.Set("type", outcome.type);
  result.Set("code", outcome.code);
  result.Set("from", outcome.from);
  return result;
}

}  // namespace

void InitEcho(Napi::Env env, Napi::Object exports) { exports.Set("echo", Napi::Function::New<Echo>(env, "echo")); }

}  // namespace bpf_napi
