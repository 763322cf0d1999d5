// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/netlink.h>
#include <napi.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "addon.h"
#include "error.h"
#include "handle.h"
#include "unique_fd.h"

namespace bpf_napi {

namespace {

constexpr int64_t kNanosecondsPerSecond = 1000000000;

int64_t Nanoseconds(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return time.tv_sec * kNanosecondsPerSecond + time.tv_nsec;
}

/** Returns the time of the wall clock minus that of bpf_ktime_get_ns(), in nanoseconds. */
Napi::Value ClockOffset(const Napi::CallbackInfo& info) {
  const int64_t before = Nanoseconds(CLOCK_MONOTONIC);
  const int64_t wall = Nanoseconds(CLOCK_REALTIME);
  const int64_t after = Nanoseconds(CLOCK_MONOTONIC);
  return Napi::BigInt::New(info.Env(), wall - (before + (after - before) / 2));
}

/** Returns the number of timer ticks per second (the kernel's HZ), derived from the resolution of the coarse clock. */
Napi::Value JiffiesPerSecond(const Napi::CallbackInfo& info) {
  timespec tick = {};
  if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0 || tick.tv_nsec <= 0) {
    Throw(info.Env(), "ask", errno, "CLOCK_MONOTONIC_COARSE");
  }
  return Napi::Number::New(info.Env(), static_cast<double>((kNanosecondsPerSecond + tick.tv_nsec / 2) / tick.tv_nsec));
}

/**
 * Returns whether a call failed with an error of a seccomp filter or security module, which the kernel does not return
 * for invalid arguments.
 */
bool IsRefusal(int64_t result) {
  return result < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS || errno == EAFNOSUPPORT);
}

/**
 * Tries each system call without side effects. The netlink socket is closed again. For the other calls, the kernel
 * checks the arguments, which are invalid, before it checks privileges.
 */
Napi::Value RefusedCalls(const Napi::CallbackInfo& info) {
  std::vector<std::string> refused;
  constexpr int kNoCommand = 0x7fff;
  if (IsRefusal(syscall(SYS_bpf, kNoCommand, nullptr, 0))) refused.emplace_back("bpf");
  if (IsRefusal(setns(-1, 0))) refused.emplace_back("setns");
  if (IsRefusal(syscall(SYS_perf_event_open, nullptr, 0, -1, -1, ~0UL))) refused.emplace_back("perf_event_open");
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!netlink && IsRefusal(-1)) refused.emplace_back("socket(AF_NETLINK)");
  Napi::Array names = Napi::Array::New(info.Env(), refused.size());
  for (size_t at = 0; at < refused.size(); at++) names.Set(at, refused[at]);
  return names;
}

/** Returns the process, user and group at the other end of a Unix socket, as of when it connected. */
Napi::Value PeerCredentials(const Napi::CallbackInfo& info) {
  ucred peer = {};
  socklen_t length = sizeof(peer);
  if (getsockopt(info[0].As<Napi::Number>().Int32Value(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    Throw(info.Env(), "ask", errno, "the peer of a socket");
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("pid", Napi::Number::New(info.Env(), peer.pid));
  result.Set("uid", Napi::Number::New(info.Env(), peer.uid));
  result.Set("gid", Napi::Number::New(info.Env(), peer.gid));
  return result;
}

/** Makes the kernel measure the run time of BPF programs while the handle is open. */
class StatsHandle final : public Handle {
 public:
  explicit StatsHandle(int fd) : fd_(fd) {}

 protected:
  void Release() final { fd_.reset(); }

 private:
  UniqueFd fd_;
};

class StatsWrap : public Napi::ObjectWrap<StatsWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "Stats", {InstanceMethod<&StatsWrap::Close>("close")});
  }

  explicit StatsWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<StatsWrap>(info) {
    const int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
    if (fd < 0) Throw(info.Env(), "enable", -fd, "BPF statistics");
    handle_ = std::make_shared<StatsHandle>(fd);
  }

 private:
  void Close(const Napi::CallbackInfo&) { handle_->Close(); }

  std::shared_ptr<StatsHandle> handle_;
};

}  // namespace

void InitSystem(Napi::Env env, Napi::Object exports) {
  exports.Set("libbpfVersion", Napi::String::New(env, libbpf_version_string()));
  exports.Set("clockOffset", Napi::Function::New<ClockOffset>(env, "clockOffset"));
  exports.Set("jiffiesPerSecond", Napi::Function::New<JiffiesPerSecond>(env, "jiffiesPerSecond"));
  exports.Set("refusedCalls", Napi::Function::New<RefusedCalls>(env, "refusedCalls"));
  exports.Set("peerCredentials", Napi::Function::New<PeerCredentials>(env, "peerCredentials"));
  exports.Set("Stats", StatsWrap::Define(env));
}

}  // namespace bpf_napi
