// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "unique_fd.h"

namespace bpf_napi {

/** One attachment of a program in the kernel. Its end removes the program again. */
class Attachment {
 public:
  Attachment() = default;
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;
  virtual ~Attachment() = default;
};

/** A BPF link: to a tracepoint, a cgroup, ... */
class LinkAttachment final : public Attachment {
 public:
  explicit LinkAttachment(bpf_link* link) : link_(link) {}
  ~LinkAttachment() override { bpf_link__destroy(link_); }

 private:
  bpf_link* link_;
};

/**
 * A place in a PROG_ARRAY. The array holds its programs: without this, a program would continue to run after its object
 * is closed. The descriptor keeps the array, which may be another object's.
 */
class PlugAttachment final : public Attachment {
 public:
  PlugAttachment(UniqueFd array, uint32_t index, uint32_t program_id)
      : array_(std::move(array)), index_(index), program_id_(program_id) {}
  ~PlugAttachment() override;

 private:
  UniqueFd array_;
  uint32_t index_;
  uint32_t program_id_;
};

/** The attachments of an object. An attachment may be ended while a thread of the pool makes another. */
class Attachments {
 public:
  /** Returns a number for `Remove`. */
  uint32_t Add(std::unique_ptr<Attachment> attachment);

  /** Ends one; does nothing if it has ended before. */
  void Remove(uint32_t id);

  void Clear();

 private:
  std::mutex mutex_;
  uint32_t next_ = 0;
  std::map<uint32_t, std::unique_ptr<Attachment>> all_;
};

}  // namespace bpf_napi
