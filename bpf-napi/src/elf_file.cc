// SPDX-License-Identifier: Apache-2.0
#include "elf_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "unique_fd.h"

namespace bpf_napi {

File::File(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (!fd || fstat(fd.get(), &status) != 0 || status.st_size <= 0) return;
  const size_t length = status.st_size;
  void* mapped = mmap(nullptr, length, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (mapped != MAP_FAILED) {
    mapped_ = static_cast<uint8_t*>(mapped);
    size_ = length;
    return;
  }
  // Files in sysfs cannot be mapped on most kernels.
  read_.reset(new uint8_t[length]);
  size_t done = 0;
  while (done < length) {
    const ssize_t got = read(fd.get(), read_.get() + done, length - done);
    if (got <= 0) return;
    done += got;
  }
  size_ = length;
}

File::~File() {
  if (mapped_ != nullptr) munmap(mapped_, size_);
}

std::pair<const uint8_t*, size_t> ElfSection(const File& file, const char* name) {
  Elf64_Ehdr header;
  if (file.size() < sizeof(header)) return {};
  memcpy(&header, file.data(), sizeof(header));
  const uint64_t end = header.e_shoff + uint64_t{header.e_shnum} * sizeof(Elf64_Shdr);
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || end > file.size() || header.e_shstrndx >= header.e_shnum)
    return {};
  const auto section = [&](size_t index) {
    Elf64_Shdr found;
    memcpy(&found, file.data() + header.e_shoff + index * sizeof(found), sizeof(found));
    return found;
  };
  const auto inside = [&](const Elf64_Shdr& one) {
    return one.sh_offset <= file.size() && one.sh_size <= file.size() - one.sh_offset;
  };
  const Elf64_Shdr names = section(header.e_shstrndx);
  if (!inside(names)) return {};
  for (size_t index = 0; index < header.e_shnum; index++) {
    const Elf64_Shdr one = section(index);
    if (one.sh_name >= names.sh_size || !inside(one)) continue;
    const auto* text = reinterpret_cast<const char*>(file.data() + names.sh_offset + one.sh_name);
    const size_t room = names.sh_size - one.sh_name;
    if (strnlen(text, room) < room && strcmp(text, name) == 0) return {file.data() + one.sh_offset, one.sh_size};
  }
  return {};
}

}  // namespace bpf_napi
