// SPDX-License-Identifier: Apache-2.0
#include "attachment.h"

#include <bpf/bpf.h>

namespace bpf_napi {

PlugAttachment::~PlugAttachment() {
  // Removes the program only if it is still in the slot. A lookup in a PROG_ARRAY returns the ID of the program.
  uint32_t id = 0;
  if (bpf_map_lookup_elem(array_.get(), &index_, &id) == 0 && id == program_id_) {
    bpf_map_delete_elem(array_.get(), &index_);
  }
}

uint32_t Attachments::Add(std::unique_ptr<Attachment> attachment) {
  std::lock_guard<std::mutex> lock(mutex_);
  all_.emplace(next_, std::move(attachment));
  return next_++;
}

void Attachments::Remove(uint32_t id) {
  std::unique_ptr<Attachment> ended;  // destroyed after the lock is released
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = all_.find(id);
  if (found == all_.end()) return;
  ended = std::move(found->second);
  all_.erase(found);
}

void Attachments::Clear() {
  std::map<uint32_t, std::unique_ptr<Attachment>> ended;
  std::lock_guard<std::mutex> lock(mutex_);
  ended.swap(all_);
}

}  // namespace bpf_napi
