// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <linux/filter.h>
#include <napi.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "addon.h"
#include "arguments.h"
#include "error.h"

namespace bpf_napi {

namespace {

struct pcap;

/** Kernel and libpcap use the same instructions (pcap-filter: struct bpf_insn, include/uapi/linux/filter.h). */
struct Program {
  unsigned int length;
  sock_filter* instructions;
};

struct PacketHeader {
  timeval time;
  uint32_t captured;
  uint32_t length;
};

/** Functions of libpcap (man 3pcap). The library is loaded when the first filter is compiled. */
struct Library {
  pcap* (*open_dead)(int link_type, int snap);
  int (*compile)(pcap*, Program*, const char* expression, int optimize, uint32_t netmask);
  char* (*geterr)(pcap*);
  void (*freecode)(Program*);
  void (*close)(pcap*);
  int (*offline_filter)(const Program*, const PacketHeader*, const uint8_t* packet);
};

constexpr uint32_t kNetmaskUnknown = 0xffffffff;

template <typename Function>
bool Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

/** Loads libpcap, which stays loaded. Returns the linker's reason if it cannot be loaded. */
std::string Load(Library& library) {
  std::string reason;
  // Debian names the library after its old interface; other distributions do not.
  for (const char* name : {"libpcap.so.0.8", "libpcap.so.1"}) {
    void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      if (reason.empty()) reason = dlerror();
      continue;
    }
    if (Find(handle, "pcap_open_dead", library.open_dead) && Find(handle, "pcap_compile", library.compile) &&
        Find(handle, "pcap_geterr", library.geterr) && Find(handle, "pcap_freecode", library.freecode) &&
        Find(handle, "pcap_close", library.close) && Find(handle, "pcap_offline_filter", library.offline_filter)) {
      return "";
    }
    return std::string(name) + " lacks a function";
  }
  return reason;
}

class PacketFilterWrap : public Napi::ObjectWrap<PacketFilterWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "NativePacketFilter",
                       {InstanceMethod<&PacketFilterWrap::Matches>("matches"),
                        InstanceMethod<&PacketFilterWrap::Instructions>("instructions")});
  }

  explicit PacketFilterWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PacketFilterWrap>(info) {
    Napi::Env env = info.Env();
    const std::string expression = info[0].As<Napi::String>();
    const std::string missing = Load(library_);
    if (!missing.empty()) Throw(env, "load libpcap", ENOENT, "", missing);
    pcap* handle = library_.open_dead(info[1].As<Napi::Number>().Int32Value(), info[2].As<Napi::Number>().Int32Value());
    if (handle == nullptr) Throw(env, "compile filter", ENOMEM, expression);
    Program program = {};
    const bool failed = library_.compile(handle, &program, expression.c_str(), 1, kNetmaskUnknown) != 0;
    const std::string words = failed ? library_.geterr(handle) : "";
    if (!failed) {
      instructions_.assign(program.instructions, program.instructions + program.length);
      library_.freecode(&program);
    }
    library_.close(handle);
    if (failed) Throw(env, "compile filter", EINVAL, expression, words);
  }

 private:
  /** Returns whether the filter accepts a packet. The packet may be shorter than its original length. */
  Napi::Value Matches(const Napi::CallbackInfo& info) {
    auto packet = info[0].As<Napi::Uint8Array>();
    const Program program = {static_cast<unsigned int>(instructions_.size()), instructions_.data()};
    const PacketHeader header = {
        {}, static_cast<uint32_t>(packet.ByteLength()), info[1].As<Napi::Number>().Uint32Value()};
    return Napi::Boolean::New(info.Env(), library_.offline_filter(&program, &header, packet.Data()) != 0);
  }

  Napi::Value Instructions(const Napi::CallbackInfo& info) {
    const size_t bytes = instructions_.size() * sizeof(sock_filter);
    Napi::Uint8Array copy = Napi::Uint8Array::New(info.Env(), bytes);
    memcpy(copy.Data(), instructions_.data(), bytes);
    return copy;
  }

  Library library_ = {};
  std::vector<sock_filter> instructions_;
};

}  // namespace

void InitPcap(Napi::Env env, Napi::Object exports) { exports.Set("PacketFilter", PacketFilterWrap::Define(env)); }

}  // namespace bpf_napi
