// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <napi.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "addon.h"
#include "error.h"
#include "unique_fd.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace bpf_napi {

namespace {

/**
 * Calls a function while this thread is in the network namespace at a path, and then returns to the previous namespace.
 */
Napi::Value WithNetns(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string path = info[0].As<Napi::String>();
  auto function = info[1].As<Napi::Function>();
  const UniqueFd home(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home) Throw(env, "enter", errno, "/proc/thread-self/ns/net");
  const UniqueFd target(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!target) Throw(env, "enter", errno, path);
  if (setns(target.get(), CLONE_NEWNET) != 0) Throw(env, "enter", errno, path);
  struct Return {
    int fd;
    ~Return() {
      if (setns(fd, CLONE_NEWNET) == 0) return;
      // In another namespace, the thread would read and report wrong data.
      perror("bpf-napi: cannot return to the thread's own network namespace");
      abort();
    }
  } back{home.get()};
  return function.Call({});
}

/** Moves this thread permanently to the network namespace at a path. */
void EnterNetns(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string path = info[0].As<Napi::String>();
  if (gettid() == getpid()) {
    Throw(env, "enter", EINVAL, path, "the main thread cannot leave the namespace of the process; use a worker thread");
  }
  const UniqueFd target(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!target || setns(target.get(), CLONE_NEWNET) != 0) Throw(env, "enter", errno, path);
}

/** Returns the cookie of this thread's network namespace. */
Napi::Value NetnsCookie(const Napi::CallbackInfo& info) {
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (!socket_fd || getsockopt(socket_fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    Throw(info.Env(), "ask", errno, "SO_NETNS_COOKIE");
  }
  return Napi::BigInt::New(info.Env(), cookie);
}

}  // namespace

void InitNetns(Napi::Env env, Napi::Object exports) {
  exports.Set("withNetns", Napi::Function::New<WithNetns>(env, "withNetns"));
  exports.Set("enterNetns", Napi::Function::New<EnterNetns>(env, "enterNetns"));
  exports.Set("netnsCookie", Napi::Function::New<NetnsCookie>(env, "netnsCookie"));
}

}  // namespace bpf_napi
