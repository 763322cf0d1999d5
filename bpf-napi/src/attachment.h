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

/** An attachment of a program. The destructor detaches the program. */
class Attachment {
 public:
  Attachment() = default;
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;
  virtual ~Attachment() = default;
};

/** An attachment to a tracepoint, a cgroup or another hook through a BPF link. */
class LinkAttachment final : public Attachment {
 public:
  explicit LinkAttachment(bpf_link* link) : link_(link) {}
  ~LinkAttachment() override { bpf_link__destroy(link_); }

 private:
  bpf_link* link_;
};

/**
 * A program in a slot of a PROG_ARRAY. The array keeps a reference to the program, so the program must be removed when
 * its object is closed. The array may belong to another object, so a descriptor keeps it alive.
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

/** The attachments of an object. Thread-safe: an attachment may be removed while a pool thread adds another one. */
class Attachments {
 public:
  /** Adds an attachment; returns its ID for `Remove`. */
  uint32_t Add(std::unique_ptr<Attachment> attachment);

  /** Removes an attachment. Does nothing if it was already removed. */
  void Remove(uint32_t id);

  void Clear();

 private:
  std::mutex mutex_;
  uint32_t next_ = 0;
  std::map<uint32_t, std::unique_ptr<Attachment>> all_;
};

}  // namespace bpf_napi
