// SPDX-License-Identifier: Apache-2.0
#include "kernel_types.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "unique_fd.h"

namespace bpf_napi {

namespace {

constexpr char kFolder[] = "/sys/kernel/btf";
constexpr char kKernel[] = "vmlinux";

/** `bpf_core_relo` of include/uapi/linux/bpf.h, which is missing in older kernel headers. */
struct CoreRelocation {
  uint32_t instruction;
  uint32_t type;
  uint32_t access;
  uint32_t kind;
};
/** `BPF_CORE_TYPE_ID_TARGET`. */
constexpr uint32_t kTypeIdTarget = 7;
constexpr uint32_t kEnum64 = 19;

using Bytes = std::vector<uint8_t>;
using KindAndName = std::pair<uint32_t, std::string>;

/** Content of a file that is not modified while it is in use. */
class File {
 public:
  explicit File(const std::string& path) {
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
    // Only very recent kernels can map files of sysfs.
    read_.reset(new uint8_t[length]);
    size_t done = 0;
    while (done < length) {
      const ssize_t got = read(fd.get(), read_.get() + done, length - done);
      if (got <= 0) return;
      done += got;
    }
    size_ = length;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (mapped_ != nullptr) munmap(mapped_, size_);
  }

  const uint8_t* data() const { return mapped_ != nullptr ? mapped_ : read_.get(); }
  /** Size in bytes; 0 if the file cannot be read. */
  size_t size() const { return size_; }

 private:
  uint8_t* mapped_ = nullptr;
  std::unique_ptr<uint8_t[]> read_;
  size_t size_ = 0;
};

/** Type records and strings of a BTF blob (kernel: Documentation/bpf/btf.rst). */
class Btf {
 public:
  /** Parses the bytes without copying them. @return whether they are complete */
  bool Parse(const uint8_t* bytes, size_t length) {
    if (length < sizeof(btf_header)) return false;
    btf_header header;
    memcpy(&header, bytes, sizeof(header));
    const uint64_t types = uint64_t{header.hdr_len} + header.type_off;
    const uint64_t strings = uint64_t{header.hdr_len} + header.str_off;
    if (header.magic != BTF_MAGIC || types + header.type_len > length || strings + header.str_len > length)
      return false;
    types_ = bytes + types;
    strings_ = {reinterpret_cast<const char*>(bytes) + strings, header.str_len};
    if (strings_.empty() || strings_.back() != '\0') return false;
    places_.assign(1, 0);
    for (uint32_t at = 0; at < header.type_len;) {
      if (header.type_len - at < sizeof(btf_type)) return false;
      places_.push_back(at);
      at += Length(*reinterpret_cast<const btf_type*>(types_ + at));
      if (at > header.type_len) return false;
    }
    return true;
  }

  uint32_t size() const { return places_.size(); }
  const btf_type& type(uint32_t id) const { return *reinterpret_cast<const btf_type*>(types_ + places_[id]); }
  std::string_view strings() const { return strings_; }
  const char* name(uint32_t offset) const { return offset < strings_.size() ? strings_.data() + offset : ""; }

  /** Size in bytes of a type record, including the data that follows its header. */
  static size_t Length(const btf_type& type) {
    const size_t count = BTF_INFO_VLEN(type.info);
    switch (BTF_INFO_KIND(type.info)) {
      case BTF_KIND_INT:
      case BTF_KIND_VAR:
      case BTF_KIND_DECL_TAG:
        return sizeof(type) + sizeof(uint32_t);
      case BTF_KIND_ARRAY:
        return sizeof(type) + sizeof(btf_array);
      case BTF_KIND_ENUM:
        return sizeof(type) + count * sizeof(btf_enum);
      case BTF_KIND_FUNC_PROTO:
        return sizeof(type) + count * sizeof(btf_param);
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        return sizeof(type) + count * sizeof(btf_member);
      case BTF_KIND_DATASEC:
        return sizeof(type) + count * sizeof(btf_var_secinfo);
      case kEnum64:
        return sizeof(type) + count * 3 * sizeof(uint32_t);
      default:
        return sizeof(type);
    }
  }

 private:
  const uint8_t* types_ = nullptr;
  std::string_view strings_;
  /** Offsets of the records by type ID; 0 is void. */
  std::vector<uint32_t> places_;
};

/** Returns a section of a 64-bit object file (man 5 elf); empty if there is no such section. */
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

/** Maps enums of any width to one kind. */
uint32_t PlainKind(uint32_t kind) { return kind == kEnum64 ? uint32_t{BTF_KIND_ENUM} : kind; }

/** Kernel types that an object needs. */
struct Wanted {
  /** Types to which its code refers, by kind and name. */
  std::set<KindAndName> types;
  /** Targets of its programs, by kind and name. */
  std::set<KindAndName> targets;
  /** True if the object also needs type IDs, which must be those of the kernel's complete BTF. */
  bool ids = false;

  void Add(const Wanted& other) {
    types.insert(other.types.begin(), other.types.end());
    targets.insert(other.targets.begin(), other.targets.end());
  }
};

/** Returns the name of a type without a version suffix that starts with `___` (libbpf: bpf_core_essential_name_len). */
std::string EssentialName(const char* name) {
  const char* end = strstr(name, "___");
  return end == nullptr || end == name ? name : std::string(name, end);
}

/** A kind of program, with the kind and name prefix of its target in BTF (libbpf: libbpf_find_vmlinux_btf_id). */
struct Target {
  const char* section;
  bpf_attach_type attach;
  uint32_t kind;
  const char* prefix;
};

constexpr std::array<Target, 3> kTargets = {{
    {"tp_btf/", BPF_TRACE_RAW_TP, BTF_KIND_TYPEDEF, "btf_trace_"},
    {"fentry/", BPF_TRACE_FENTRY, BTF_KIND_FUNC, ""},
    {"fexit/", BPF_TRACE_FEXIT, BTF_KIND_FUNC, ""},
}};

/** @return the target's kind and name; the name is empty if the section matches none of {@link kTargets} */
KindAndName TargetOfSection(const std::string& section) {
  for (const Target& target : kTargets) {
    const size_t length = strlen(target.section);
    if (section.compare(0, length, target.section) == 0) return {target.kind, target.prefix + section.substr(length)};
  }
  return {};
}

/** Reads `.BTF` and `.BTF.ext`. @return whether both are present and complete */
bool ReadWanted(const File& file, Wanted& wanted) {
  Btf local;
  const auto [types, types_length] = ElfSection(file, ".BTF");
  const auto [extension, length] = ElfSection(file, ".BTF.ext");
  // The header must include the field with the offset of the relocations. That field may be missing in objects without
  // relocations.
  std::array<uint32_t, 8> header;
  if (types == nullptr || length < sizeof(header) || !local.Parse(types, types_length)) return false;
  memcpy(header.data(), extension, sizeof(header));
  const uint64_t header_bytes = header[1];
  if (header_bytes < sizeof(header)) return false;
  const auto each_record = [&](uint32_t offset, uint32_t bytes, const auto& visit) {
    uint64_t at = header_bytes + offset;
    const uint64_t end = at + bytes;
    if (bytes == 0) return true;
    if (end > length) return false;
    uint32_t record_bytes;
    memcpy(&record_bytes, extension + at, sizeof(record_bytes));
    if (record_bytes < 2 * sizeof(uint32_t)) return false;
    for (at += sizeof(record_bytes); at + 2 * sizeof(uint32_t) <= end;) {
      std::array<uint32_t, 2> group;
      memcpy(group.data(), extension + at, sizeof(group));
      at += sizeof(group);
      if ((end - at) / record_bytes < group[1]) return false;
      for (uint32_t index = 0; index < group[1]; index++, at += record_bytes) {
        if (!visit(local.name(group[0]), extension + at, record_bytes)) return false;
      }
    }
    return true;
  };
  const auto program = [&](const char* section, const uint8_t*, uint32_t) {
    const KindAndName target = TargetOfSection(section);
    if (!target.second.empty()) wanted.targets.insert(target);
    return true;
  };
  const auto relocation = [&](const char*, const uint8_t* bytes, uint32_t record_bytes) {
    CoreRelocation record;
    if (record_bytes < sizeof(record)) return false;
    memcpy(&record, bytes, sizeof(record));
    if (record.type == 0 || record.type >= local.size()) return false;
    const btf_type& type = local.type(record.type);
    if (record.kind == kTypeIdTarget) wanted.ids = true;
    wanted.types.insert({PlainKind(BTF_INFO_KIND(type.info)), EssentialName(local.name(type.name_off))});
    return true;
  };
  return each_record(header[2], header[3], program) && each_record(header[6], header[7], relocation);
}

/**
 * Copies types of the kernel into a separate BTF, including all types that they contain by value. Targets of pointers
 * are omitted because no access path leads there.
 */
class Excerpt {
 public:
  explicit Excerpt(const Btf& kernel) : kernel_(kernel), strings_(1, '\0') {}

  void Add(uint32_t id) { Renumber(id); }

  Bytes Finish() {
    // Includes records that are appended during the loop.
    for (size_t index = 0; index < added_.size(); index++) Copy(added_[index]);
    btf_header header = {};
    header.magic = BTF_MAGIC;
    header.version = 1;
    header.hdr_len = sizeof(header);
    header.type_len = types_.size();
    header.str_off = types_.size();
    header.str_len = strings_.size();
    Bytes all(sizeof(header) + types_.size() + strings_.size());
    memcpy(all.data(), &header, sizeof(header));
    memcpy(all.data() + sizeof(header), types_.data(), types_.size());
    memcpy(all.data() + sizeof(header) + types_.size(), strings_.data(), strings_.size());
    return all;
  }

 private:
  /** Returns the ID of a type in the copy. */
  uint32_t Renumber(uint32_t id) {
    if (id == 0 || id >= kernel_.size()) return 0;
    const auto [found, is_new] = ids_.try_emplace(id, added_.size() + 1);
    if (is_new) added_.push_back(id);
    return found->second;
  }

  uint32_t String(uint32_t offset) {
    if (offset == 0) return 0;
    const auto [found, is_new] = offsets_.try_emplace(offset, strings_.size());
    if (is_new) strings_.append(kernel_.name(offset)).push_back('\0');
    return found->second;
  }

  void Copy(uint32_t id) {
    const btf_type& original = kernel_.type(id);
    const size_t start = types_.size();
    const auto* bytes = reinterpret_cast<const uint8_t*>(&original);
    const uint32_t kind = BTF_INFO_KIND(original.info);
    const uint32_t count = BTF_INFO_VLEN(original.info);
    btf_type type = original;
    type.name_off = String(type.name_off);
    if (kind == BTF_KIND_FUNC_PROTO) {
      type.info &= ~0xffffU;
      type.type = 0;
      Append(&type, sizeof(type));
      return;
    }
    types_.insert(types_.end(), bytes, bytes + Btf::Length(original));
    uint8_t* extra = types_.data() + start + sizeof(type);
    switch (kind) {
      case BTF_KIND_PTR:
        type.type = 0;
        break;
      case BTF_KIND_TYPEDEF:
      case BTF_KIND_VOLATILE:
      case BTF_KIND_CONST:
      case BTF_KIND_RESTRICT:
      case BTF_KIND_TYPE_TAG:
        type.type = Renumber(type.type);
        break;
      case BTF_KIND_ARRAY:
        Change<btf_array>(extra, 1, [&](btf_array& array) {
          array.type = Renumber(array.type);
          array.index_type = Renumber(array.index_type);
        });
        break;
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        Change<btf_member>(extra, count, [&](btf_member& member) {
          member.name_off = String(member.name_off);
          member.type = Renumber(member.type);
        });
        break;
      case BTF_KIND_ENUM:
        Change<btf_enum>(extra, count, [&](btf_enum& value) { value.name_off = String(value.name_off); });
        break;
      case kEnum64:
        Change<std::array<uint32_t, 3>>(extra, count, [&](auto& value) { value[0] = String(value[0]); });
        break;
      default:
        break;
    }
    memcpy(types_.data() + start, &type, sizeof(type));
  }

  template <typename Element, typename Visit>
  static void Change(uint8_t* at, uint32_t count, const Visit& visit) {
    for (uint32_t index = 0; index < count; index++, at += sizeof(Element)) {
      Element element;
      memcpy(&element, at, sizeof(element));
      visit(element);
      memcpy(at, &element, sizeof(element));
    }
  }

  void Append(const void* bytes, size_t length) {
    const auto* start = static_cast<const uint8_t*>(bytes);
    types_.insert(types_.end(), start, start + length);
  }

  const Btf& kernel_;
  Bytes types_;
  std::string strings_;
  std::vector<uint32_t> added_;
  /** Maps IDs and string offsets of the kernel to those in the copy. */
  std::unordered_map<uint32_t, uint32_t> ids_, offsets_;
};

/** Returns the names that occur in the strings, by offset. */
std::unordered_map<uint32_t, std::string_view> OffsetsOf(std::string_view strings,
                                                         const std::set<std::string, std::less<>>& names) {
  constexpr size_t kLengthMax = 64;
  std::array<std::array<bool, kLengthMax>, 256> may = {};
  for (const std::string& name : names) {
    if (!name.empty()) may[uint8_t(name[0])][std::min(name.size(), kLengthMax - 1)] = true;
  }
  std::unordered_map<uint32_t, std::string_view> offsets;
  for (size_t at = 0; at < strings.size();) {
    const size_t end = strings.find('\0', at);
    const std::string_view text = strings.substr(at, end - at);
    if (!text.empty() && may[uint8_t(text[0])][std::min(text.size(), kLengthMax - 1)] && names.count(text) > 0)
      offsets.emplace(at, text);
    at = end + 1;
  }
  return offsets;
}

/** Returns whether a module may have a type with one of these names. libbpf then has to search the modules. */
bool MayBeInModule(const std::set<std::string>& names) {
  DIR* folder = opendir(kFolder);
  if (folder == nullptr) return true;
  bool found = false;
  while (const dirent* entry = readdir(folder)) {
    if (found || entry->d_name[0] == '.' || strcmp(entry->d_name, kKernel) == 0) continue;
    const File file(std::string(kFolder) + "/" + entry->d_name);
    const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
    for (const std::string& name : names) {
      // Includes the terminating zero, which separates strings.
      found = found || text.find(std::string_view(name.c_str(), name.size() + 1)) != std::string_view::npos;
    }
  }
  closedir(folder);
  return found;
}

/** Types in the kernel's BTF that the objects of a directory need, found in one pass. */
struct Excerpts {
  /** Types that were searched for, and the ones that the kernel has. */
  Wanted asked;
  std::set<KindAndName> found;
  /** Type IDs of the targets. */
  std::map<KindAndName, uint32_t> targets;
  /** BTF with the types that were found. */
  Bytes btf;
};

Wanted WantedInFolder(const std::string& folder) {
  Wanted all;
  DIR* files = opendir(folder.c_str());
  if (files == nullptr) return all;
  while (const dirent* entry = readdir(files)) {
    const std::string name = entry->d_name;
    constexpr std::string_view kEnd = ".bpf.o";
    if (name.size() <= kEnd.size() || name.compare(name.size() - kEnd.size(), kEnd.size(), kEnd) != 0) continue;
    Wanted wanted;
    if (ReadWanted(File(folder + name), wanted)) all.Add(wanted);
  }
  closedir(files);
  return all;
}

/** @return null if the kernel has no BTF */
std::shared_ptr<const Excerpts> LookUp(Wanted asked) {
  const File file(std::string(kFolder) + "/" + kKernel);
  Btf kernel;
  if (!kernel.Parse(file.data(), file.size())) return nullptr;
  std::set<std::string, std::less<>> names;
  for (const auto& [kind, name] : asked.types) names.insert(name);
  for (const auto& [kind, name] : asked.targets) names.insert(name);
  const auto offsets = OffsetsOf(kernel.strings(), names);
  auto excerpts = std::make_shared<Excerpts>();
  Excerpt excerpt(kernel);
  for (uint32_t id = 1; id < kernel.size(); id++) {
    const btf_type& type = kernel.type(id);
    const auto name = type.name_off == 0 ? offsets.end() : offsets.find(type.name_off);
    if (name == offsets.end()) continue;
    const KindAndName key{PlainKind(BTF_INFO_KIND(type.info)), std::string(name->second)};
    if (asked.targets.count(key) > 0) excerpts->targets.try_emplace(key, id);
    if (asked.types.count(key) == 0) continue;
    excerpts->found.insert(key);
    excerpt.Add(id);
  }
  excerpts->asked = std::move(asked);
  excerpts->btf = excerpt.Finish();
  return excerpts;
}

/** Cached for the lifetime of the process because the kernel's types do not change. */
std::shared_ptr<const Excerpts> ExcerptsFor(const std::string& folder) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const Excerpts>> kept;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = kept.find(folder);
  if (found != kept.end()) return found->second;
  return kept[folder] = LookUp(WantedInFolder(folder));
}

/** Types of the object that this thread is currently loading. */
thread_local const KernelTypes* loading = nullptr;

int SetTarget(bpf_program* program, bpf_prog_load_opts* options, long) {
  const uint32_t target = loading == nullptr ? 0 : loading->TargetOf(program);
  if (target == 0) return 0;
  options->attach_prog_fd = 0;
  options->attach_btf_obj_fd = 0;
  options->attach_btf_id = target;
  return 0;
}

int AttachToTarget(const bpf_program* program, long, bpf_link** link) {
  *link = bpf_program__attach_trace(program);
  return *link == nullptr ? -errno : 0;
}

}  // namespace

std::unique_ptr<KernelTypes> KernelTypes::Find(const std::string& object_file) {
  Wanted wanted;
  if (!ReadWanted(File(object_file), wanted) || wanted.ids) return nullptr;
  const std::shared_ptr<const Excerpts> excerpts = ExcerptsFor(object_file.substr(0, object_file.rfind('/') + 1));
  if (excerpts == nullptr) return nullptr;
  std::set<std::string> missing;
  for (const KindAndName& type : wanted.types) {
    // The file was added after the directory was read.
    if (excerpts->asked.types.count(type) == 0) return nullptr;
    if (excerpts->found.count(type) == 0) missing.insert(type.second);
  }
  if (!missing.empty() && MayBeInModule(missing)) return nullptr;
  auto types = std::make_unique<KernelTypes>();
  const Bytes& btf = excerpts->btf;
  types->file_.reset(memfd_create("kernel types", MFD_CLOEXEC));
  if (!types->file_ || write(types->file_.get(), btf.data(), btf.size()) != static_cast<ssize_t>(btf.size()))
    return nullptr;
  if (access(types->path().c_str(), R_OK) != 0) return nullptr;
  for (const KindAndName& target : wanted.targets) {
    const auto found = excerpts->targets.find(target);
    if (found != excerpts->targets.end()) types->targets_.insert(*found);
  }
  return types;
}

std::string KernelTypes::path() const { return "/proc/self/fd/" + std::to_string(file_.get()); }

uint32_t KernelTypes::TargetOf(const bpf_program* program) const {
  const auto found = targets_.find(TargetOfSection(bpf_program__section_name(program)));
  return found == targets_.end() ? 0 : found->second;
}

void RegisterTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    for (const Target& target : kTargets) {
      LIBBPF_OPTS(libbpf_prog_handler_opts, options, .prog_prepare_load_fn = SetTarget,
                  .prog_attach_fn = AttachToTarget);
      // The `+` also matches a section that consists only of the kind.
      const std::string section = std::string(target.section, strlen(target.section) - 1) + "+";
      libbpf_register_prog_handler(strdup(section.c_str()), BPF_PROG_TYPE_TRACING, target.attach, &options);
    }
  });
}

int LoadWith(bpf_object* object, const KernelTypes* types, std::string& log) {
  bpf_program* program;
  bpf_object__for_each_program(program, object) {
    const std::string name = TargetOfSection(bpf_program__section_name(program)).second;
    if (name.empty() || !bpf_program__autoload(program)) continue;
    if (types != nullptr && types->TargetOf(program) != 0) {
      // libbpf does not search for the target if the program is attached to another program. SetTarget reverts this.
      constexpr int kAny = 1;
      bpf_program__set_attach_target(program, kAny, nullptr);
      continue;
    }
    const std::string target = strchr(bpf_program__section_name(program), '/') + 1;
    const int error = bpf_program__set_attach_target(program, 0, target.c_str());
    if (error == 0) continue;
    // Same message as from libbpf's own search.
    log = std::string("prog '") + bpf_program__name(program) + "': failed to find kernel BTF type ID of '" + target +
          "'\n";
    return error;
  }
  loading = types;
  const int error = bpf_object__load(object);
  loading = nullptr;
  return error;
}

}  // namespace bpf_napi
