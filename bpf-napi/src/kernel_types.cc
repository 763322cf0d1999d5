// SPDX-License-Identifier: Apache-2.0
#include "kernel_types.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <linux/btf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <string_view>
#include <unordered_map>

#include "btf.h"
#include "btf_excerpt.h"
#include "elf_file.h"
#include "unique_fd.h"
#include "wanted_types.h"

namespace bpf_napi {

namespace {

constexpr char kFolder[] = "/sys/kernel/btf";
constexpr char kKernel[] = "vmlinux";

/** Returns the offset of each of the given names that occurs in the BTF strings. */
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

/** Returns whether a module may have a type with one of these names, in which case libbpf has to search the modules. */
bool MayBeInModule(const std::set<std::string>& names) {
  DIR* folder = opendir(kFolder);
  if (folder == nullptr) return true;
  bool found = false;
  while (const dirent* entry = readdir(folder)) {
    if (found || entry->d_name[0] == '.' || strcmp(entry->d_name, kKernel) == 0) continue;
    const File file(std::string(kFolder) + "/" + entry->d_name);
    const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
    for (const std::string& name : names) {
      // Includes the terminating NUL of the name, so that prefixes of longer strings do not match.
      found = found || text.find(std::string_view(name.c_str(), name.size() + 1)) != std::string_view::npos;
    }
  }
  closedir(folder);
  return found;
}

/** Kernel types needed by all objects in a directory, found in a single pass over the kernel's BTF. */
struct Excerpts {
  /** Types that were searched for, and those of them that the kernel has. */
  Wanted asked;
  std::set<KindAndName> found;
  /** Type IDs of the programs' targets. */
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

/** Searches the kernel's BTF. @return null if the kernel has no BTF */
std::shared_ptr<const Excerpts> LookUp(Wanted asked) {
  const File file(std::string(kFolder) + "/" + kKernel);
  Btf kernel;
  if (!kernel.Parse(file.data(), file.size())) return nullptr;
  std::set<std::string, std::less<>> names;
  for (const auto& [kind, name] : asked.types) names.insert(name);
  for (const auto& [kind, name] : asked.targets) names.insert(name);
  const auto offsets = OffsetsOf(kernel.strings(), names);
  auto excerpts = std::make_shared<Excerpts>();
  BtfExcerpt excerpt(kernel);
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

/**
 * Returns the cached types for a directory. The cache is never invalidated because the kernel's types do not change.
 */
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
    // The object file was added after the directory had been read.
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
      // The `+` means that the rest of the section name is optional.
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
      // libbpf skips its own search if the program has a program to attach to. SetTarget removes this placeholder.
      constexpr int kAny = 1;
      bpf_program__set_attach_target(program, kAny, nullptr);
      continue;
    }
    const std::string target = strchr(bpf_program__section_name(program), '/') + 1;
    const int error = bpf_program__set_attach_target(program, 0, target.c_str());
    if (error == 0) continue;
    // Same message as in libbpf.
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
