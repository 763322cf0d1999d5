// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace bpf_napi {

/** Contents of a file, which must not be modified during the lifetime of this object. */
class File {
 public:
  explicit File(const std::string& path);
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  const uint8_t* data() const { return mapped_ != nullptr ? mapped_ : read_.get(); }
  /** Size in bytes; 0 if the file cannot be read. */
  size_t size() const { return size_; }

 private:
  uint8_t* mapped_ = nullptr;
  std::unique_ptr<uint8_t[]> read_;
  size_t size_ = 0;
};

/** Returns a section of a 64-bit object file (man 5 elf); empty if there is no such section. */
std::pair<const uint8_t*, size_t> ElfSection(const File& file, const char* name);

}  // namespace bpf_napi
