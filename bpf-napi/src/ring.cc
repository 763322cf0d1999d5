// SPDX-License-Identifier: Apache-2.0
#include <bpf/libbpf.h>
#include <napi.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "addon.h"
#include "error.h"
#include "fd_watch.h"
#include "object.h"

namespace bpf_napi {

namespace {

// A record in the buffer: its length as a u32, four unused bytes, its data, and padding to a multiple of 8 bytes.
constexpr size_t kHeaderBytes = 8;

// Returned by the callback to stop reading. libbpf still marks the current record as consumed.
constexpr int kFull = -ENOBUFS;

class RingHandle final : public Handle {
 public:
  ~RingHandle() override {
    if (ring_ != nullptr) Release();
  }

  /** Opens the ring buffer; returns 0 or an errno. */
  int Open(int map_fd) {
    ring_ = ring_buffer__new(map_fd, Take, this, nullptr);
    return ring_ == nullptr ? errno : 0;
  }

  /**
   * Copies records until the ring buffer is empty or `target` may be too small for another record of `record_bytes_max`
   * bytes. Returns the number of bytes written, or a negative errno. Skips longer records and reports them with
   * -EMSGSIZE: at once if no records were copied, otherwise in the next call.
   */
  long Drain(uint8_t* target, size_t bytes, size_t record_bytes_max) {
    target_ = target;
    used_ = 0;
    room_ = bytes;
    record_bytes_max_ = record_bytes_max;
    reserve_ = kHeaderBytes + record_bytes_max + 7;
    if (room_ < reserve_) return -EINVAL;
    if (too_long_ == 0) {
      const int result = ring_buffer__consume(ring_);
      if (result < 0 && result != kFull) return result;
    }
    return used_ == 0 && too_long_ != 0 ? -EMSGSIZE : static_cast<long>(used_);
  }

  /**
   * Calls a function in each turn of the event loop in which the ring buffer has unread records, provided that the
   * kernel has sent a notification for them. Returns 0 or an errno.
   */
  int Watch(Napi::Env env, Napi::Function call) { return watch_.Start(env, ring_buffer__epoll_fd(ring_), call); }
  void Unwatch() { watch_.Stop(); }

  /** Returns the size of the longest record skipped since the previous call; 0 if there was none. */
  size_t TakeTooLong() { return std::exchange(too_long_, 0); }

 protected:
  void Release() final {
    watch_.Stop();
    ring_buffer__free(std::exchange(ring_, nullptr));
  }

 private:
  static int Take(void* context, void* data, size_t size) {
    auto* self = static_cast<RingHandle*>(context);
    if (size > self->record_bytes_max_) {
      self->too_long_ = std::max(self->too_long_, size);
      return 0;
    }
    const size_t padded = (size + 7) & ~size_t{7};
    uint8_t* at = self->target_ + self->used_;
    const uint32_t header[2] = {static_cast<uint32_t>(size), 0};
    memcpy(at, header, sizeof(header));
    memcpy(at + kHeaderBytes, data, size);
    self->used_ += kHeaderBytes + padded;
    return self->room_ - self->used_ < self->reserve_ ? kFull : 0;
  }

  ring_buffer* ring_ = nullptr;
  FdWatch watch_;
  uint8_t* target_ = nullptr;
  size_t used_ = 0, room_ = 0, reserve_ = 0, record_bytes_max_ = 0, too_long_ = 0;
};

class BpfRingWrap : public Napi::ObjectWrap<BpfRingWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "NativeRing",
        {InstanceMethod<&BpfRingWrap::Drain>("drain"), InstanceMethod<&BpfRingWrap::Watch>("watch"),
         InstanceMethod<&BpfRingWrap::Unwatch>("unwatch"), InstanceMethod<&BpfRingWrap::Close>("close")});
  }

  explicit BpfRingWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BpfRingWrap>(info) {
    Napi::Env env = info.Env();
    ObjectHandle& object = BpfObjectWrap::Unwrap(info[0].As<Napi::Object>())->OpenForUse(env, "open ring");
    const size_t index = info[1].As<Napi::Number>().Uint32Value();
    if (index >= object.maps().size()) Throw(env, "open ring", ENOENT, "map of " + object.name());
    name_ = bpf_map__name(object.maps()[index]);
    auto handle = std::make_shared<RingHandle>();
    LogCapture log;
    const int error = handle->Open(bpf_map__fd(object.maps()[index]));
    if (error != 0) Throw(env, "open ring", error, name_, log.take());
    handle_ = handle;
  }

 private:
  Napi::Value Drain(const Napi::CallbackInfo& info) {
    if (handle_->closed()) Throw(info.Env(), "drain", EBADF, name_, "closed");
    auto target = info[0].As<Napi::Uint8Array>();
    const long bytes = handle_->Drain(target.Data(), target.ByteLength(), info[1].As<Napi::Number>().Uint32Value());
    if (bytes == -EMSGSIZE) {
      Throw(info.Env(), "drain", EMSGSIZE, name_, "a record of " + std::to_string(handle_->TakeTooLong()) + " bytes");
    }
    if (bytes < 0) Throw(info.Env(), "drain", static_cast<int>(-bytes), name_);
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  }

  void Watch(const Napi::CallbackInfo& info) {
    if (handle_->closed()) Throw(info.Env(), "watch", EBADF, name_, "closed");
    const int error = handle_->Watch(info.Env(), info[0].As<Napi::Function>());
    if (error != 0) Throw(info.Env(), "watch", error, name_);
  }

  void Unwatch(const Napi::CallbackInfo& info) {
    if (handle_->closed()) Throw(info.Env(), "watch", EBADF, name_, "closed");
    handle_->Unwatch();
  }

  void Close(const Napi::CallbackInfo&) { handle_->Close(); }

  std::string name_;
  std::shared_ptr<RingHandle> handle_;
};

}  // namespace

void InitRing(Napi::Env env, Napi::Object exports) { exports.Set("Ring", BpfRingWrap::Define(env)); }

}  // namespace bpf_napi
