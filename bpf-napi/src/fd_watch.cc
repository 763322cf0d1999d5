// SPDX-License-Identifier: Apache-2.0
#include "fd_watch.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include "uv_abi.h"

namespace bpf_napi {

/** Data that libuv uses until it calls the close callback, which may be after the watch has been destroyed. */
struct FdWatch::Poll {
  Poll(Napi::Env environment, FdWatch* watch)
      : env(environment), owner(watch), memory(new char[uv_handle_size(kUvPoll)]) {}

  uv_poll_s* poll() { return reinterpret_cast<uv_poll_s*>(memory.get()); }
  uv_handle_s* handle() { return reinterpret_cast<uv_handle_s*>(memory.get()); }

  static void Ready(uv_poll_s* poll, int, int);
  void Close();

  napi_env env;
  /** Null once the watch has been stopped. */
  FdWatch* owner;
  std::unique_ptr<char[]> memory;
  napi_ref call = nullptr;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
};

/**
 * Called by libuv. After an overrun, a netlink socket reports EPOLLERR, on which libuv stops polling and passes an
 * error (uv__poll_io()). In this case, polling is restarted, and the JavaScript function sees the error when it reads
 * from the socket.
 */
void FdWatch::Poll::Ready(uv_poll_s* poll, int status, int) {
  auto* self = static_cast<Poll*>(uv_handle_get_data(reinterpret_cast<uv_handle_s*>(poll)));
  if (status < 0) uv_poll_start(poll, kUvReadable, Ready);
  const napi_env env = self->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value call, global, thrown;
  if (napi_get_reference_value(env, self->call, &call) == napi_ok && napi_get_global(env, &global) == napi_ok &&
      napi_make_callback(env, self->context, global, call, 0, nullptr, nullptr) == napi_pending_exception &&
      napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
    // Handles an exception as Node does in its own callbacks: emits 'uncaughtException' or ends the process.
    napi_fatal_exception(env, thrown);
  }
  napi_close_handle_scope(env, scope);
}

void FdWatch::Poll::Close() {
  if (owner == nullptr) return;
  owner->poll_ = nullptr;
  owner = nullptr;
  napi_delete_reference(env, call);
  napi_async_destroy(env, context);
  // uv_close() stops polling immediately, so the descriptor may be closed after it. The callback runs in the next turn
  // of the event loop.
  uv_close(handle(), [](uv_handle_s* handle) {
    const std::unique_ptr<Poll> self(static_cast<Poll*>(uv_handle_get_data(handle)));
    napi_remove_async_cleanup_hook(self->hook);
  });
}

int FdWatch::Start(Napi::Env env, int fd, Napi::Function call) {
  if (poll_ != nullptr) return EEXIST;
  const char* type = uv_handle_type_name(kUvPoll);
  uv_loop_s* loop = nullptr;
  if (type == nullptr || strcmp(type, "poll") != 0 || napi_get_uv_event_loop(env, &loop) != napi_ok) return ENOSYS;
  auto created = std::make_unique<Poll>(env, this);
  const int error = uv_poll_init(loop, created->poll(), fd);
  if (error != 0) return -error;
  poll_ = created.release();
  uv_handle_set_data(poll_->handle(), poll_);
  uv_unref(poll_->handle());
  napi_create_reference(env, call, 1, &poll_->call);
  napi_async_init(env, nullptr, Napi::String::New(env, "bpf-napi"), &poll_->context);
  // A thread that ends must wait for the close callback: its event loop must not be destroyed while it has handles.
  napi_add_async_cleanup_hook(
      env, [](napi_async_cleanup_hook_handle, void* poll) { static_cast<Poll*>(poll)->Close(); }, poll_, &poll_->hook);
  const int refused = uv_poll_start(poll_->poll(), kUvReadable, Poll::Ready);
  if (refused != 0) Stop();
  return -refused;
}

void FdWatch::Stop() {
  if (poll_ != nullptr) poll_->Close();
}

}  // namespace bpf_napi
