// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

/*
 * Declares the functions of libuv that the addon calls. Node exports them, but the Node-API headers do not include
 * uv.h. The ABI of libuv is stable within version 1 (docs.libuv.org, "Design overview" and "Version-checking"), and the
 * addon does not depend on the layout of libuv's structs.
 */
extern "C" {
struct uv_loop_s;
struct uv_handle_s;
struct uv_poll_s;

size_t uv_handle_size(int type);
const char* uv_handle_type_name(int type);
void uv_handle_set_data(uv_handle_s* handle, void* data);
void* uv_handle_get_data(const uv_handle_s* handle);
void uv_unref(uv_handle_s* handle);
void uv_close(uv_handle_s* handle, void (*closed)(uv_handle_s*));

/** Returns 0 or a negative errno, like uv_poll_start(). */
int uv_poll_init(uv_loop_s* loop, uv_poll_s* poll, int fd);
int uv_poll_start(uv_poll_s* poll, int events, void (*ready)(uv_poll_s*, int status, int events));
}

namespace bpf_napi {

// Values of UV_POLL (uv_handle_type) and UV_READABLE (uv_poll_event).
constexpr int kUvPoll = 8;
constexpr int kUvReadable = 1;

}  // namespace bpf_napi
