// SPDX-License-Identifier: Apache-2.0
#include <linux/netlink.h>
#include <napi.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "addon.h"
#include "error.h"
#include "fd_watch.h"
#include "handle.h"
#include "unique_fd.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

namespace bpf_napi {

namespace {

/** Result of a receive call. */
struct Taken {
  size_t bytes = 0;
  /** True if notifications were lost because the queue was full or a datagram was too long. */
  bool overrun = false;
  /** True if the socket is empty. */
  bool empty = false;
};

class SubscriptionHandle final : public Handle {
 public:
  ~SubscriptionHandle() override { Close(); }

  /** Subscribes in this thread's network namespace. Returns 0 or an errno. */
  int Open(int protocol, const uint32_t* groups, size_t count, int queue_bytes) {
    fd_ = UniqueFd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
    if (!fd_) return errno;
    // Exceeding net.core.rmem_max requires CAP_NET_ADMIN.
    if (setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &queue_bytes, sizeof(queue_bytes)) != 0 &&
        setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &queue_bytes, sizeof(queue_bytes)) != 0) {
      return errno;
    }
    // Sockets without a port do not receive broadcasts (kernel: net/netlink/af_netlink.c, do_one_broadcast()).
    sockaddr_nl any_port = {};
    any_port.nl_family = AF_NETLINK;
    if (bind(fd_.get(), reinterpret_cast<sockaddr*>(&any_port), sizeof(any_port)) != 0) return errno;
    for (size_t i = 0; i < count; i++) {
      const int group = static_cast<int>(groups[i]);
      if (setsockopt(fd_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) return errno;
    }
    return 0;
  }

  /**
   * Copies datagrams into `target` until there is no space for a datagram of the maximum length. Returns 0 or an errno.
   */
  int Receive(uint8_t* target, size_t bytes, size_t datagram_bytes_max, Taken& taken) {
    while (bytes - taken.bytes >= datagram_bytes_max) {
      sockaddr_nl sender = {};
      socklen_t sender_bytes = sizeof(sender);
      const ssize_t size = recvfrom(fd_.get(), target + taken.bytes, datagram_bytes_max, MSG_TRUNC,
                                    reinterpret_cast<sockaddr*>(&sender), &sender_bytes);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == ENOBUFS) {
        taken.overrun = true;
        continue;
      }
      if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        taken.empty = true;
        return 0;
      }
      if (size < 0) return errno;
      // Processes with CAP_NET_ADMIN in the namespace can also send to a multicast group. Only the kernel has port 0.
      if (sender.nl_pid != 0) continue;
      if (static_cast<size_t>(size) > datagram_bytes_max) {
        taken.overrun = true;
        continue;
      }
      taken.bytes += NLMSG_ALIGN(static_cast<size_t>(size));
    }
    return 0;
  }

  /** Sends a datagram to the kernel. Returns 0 or an errno. */
  int Send(const uint8_t* bytes, size_t size) {
    sockaddr_nl kernel = {};
    kernel.nl_family = AF_NETLINK;
    const ssize_t sent = sendto(fd_.get(), bytes, size, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel));
    return sent < 0 ? errno : 0;
  }

  /** Calls a function when messages or an overrun can be received. Returns 0 or an errno. */
  int Watch(Napi::Env env, Napi::Function call) { return watch_.Start(env, fd_.get(), call); }
  void Unwatch() { watch_.Stop(); }

 protected:
  void Release() final {
    watch_.Stop();
    fd_.reset();
  }

 private:
  UniqueFd fd_;
  FdWatch watch_;
};

class SubscriptionWrap : public Napi::ObjectWrap<SubscriptionWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "NativeSubscription",
        {InstanceMethod<&SubscriptionWrap::Receive>("receive"), InstanceMethod<&SubscriptionWrap::Send>("send"),
         InstanceMethod<&SubscriptionWrap::Watch>("watch"), InstanceMethod<&SubscriptionWrap::Unwatch>("unwatch"),
         InstanceMethod<&SubscriptionWrap::Close>("close")});
  }

  explicit SubscriptionWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SubscriptionWrap>(info) {
    auto groups = info[1].As<Napi::Uint32Array>();
    auto handle = std::make_shared<SubscriptionHandle>();
    const int error = handle->Open(info[0].As<Napi::Number>().Int32Value(), groups.Data(), groups.ElementLength(),
                                   info[2].As<Napi::Number>().Int32Value());
    if (error != 0) Throw(info.Env(), "subscribe", error, "netlink");
    handle_ = std::move(handle);
  }

 private:
  Napi::Value Receive(const Napi::CallbackInfo& info) {
    CheckOpen(info, "receive");
    auto target = info[0].As<Napi::Uint8Array>();
    Taken taken;
    const int error =
        handle_->Receive(target.Data(), target.ByteLength(), info[1].As<Napi::Number>().Uint32Value(), taken);
    if (error != 0) Throw(info.Env(), "receive", error, "netlink");
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("bytes", static_cast<double>(taken.bytes));
    result.Set("overrun", taken.overrun);
    result.Set("empty", taken.empty);
    return result;
  }

  void Send(const Napi::CallbackInfo& info) {
    CheckOpen(info, "send");
    auto bytes = info[0].As<Napi::Uint8Array>();
    const int error = handle_->Send(bytes.Data(), bytes.ByteLength());
    if (error != 0) Throw(info.Env(), "send", error, "netlink");
  }

  void Watch(const Napi::CallbackInfo& info) {
    CheckOpen(info, "watch");
    const int error = handle_->Watch(info.Env(), info[0].As<Napi::Function>());
    if (error != 0) Throw(info.Env(), "watch", error, "netlink");
  }

  void Unwatch(const Napi::CallbackInfo& info) {
    CheckOpen(info, "watch");
    handle_->Unwatch();
  }

  void Close(const Napi::CallbackInfo&) { handle_->Close(); }

  void CheckOpen(const Napi::CallbackInfo& info, const char* operation) {
    if (handle_->closed()) Throw(info.Env(), operation, EBADF, "netlink", "closed");
  }

  std::shared_ptr<SubscriptionHandle> handle_;
};

}  // namespace

void InitSubscription(Napi::Env env, Napi::Object exports) {
  exports.Set("Subscription", SubscriptionWrap::Define(env));
}

}  // namespace bpf_napi
