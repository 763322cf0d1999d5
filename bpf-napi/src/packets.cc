// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <napi.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>
#include <unordered_map>

#include "addon.h"
#include "arguments.h"
#include "error.h"
#include "fd_watch.h"
#include "handle.h"
#include "unique_fd.h"

namespace bpf_napi {

namespace {

constexpr size_t kBlockBytes = 1 << 20;
// The kernel requires a frame size, but packs packets in a block regardless of it.
constexpr size_t kFrameBytes = 1 << 11;
// Protocol number that no packet has. It is reserved by IEEE 802.
constexpr uint16_t kNoProtocol = 0xffff;

/** Pseudo header of LINKTYPE_LINUX_SLL2 (www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html), in network order. */
struct CookedHeader {
  uint16_t protocol;
  uint16_t reserved;
  uint32_t device;
  uint16_t hardware;
  uint8_t packet_type;
  uint8_t address_bytes;
  uint8_t address[8];
};
static_assert(sizeof(CookedHeader) == 20);

struct VlanTag {
  uint16_t control;
  uint16_t protocol;
};

/** Start of an enhanced packet block of pcapng, in the order of this machine. */
struct BlockHeader {
  uint32_t type;
  uint32_t total;
  uint32_t interface;
  uint32_t time_high;
  uint32_t time_low;
  uint32_t captured;
  uint32_t length;
};
constexpr uint32_t kEnhancedPacket = 6;

struct Opened {
  const char* operation = nullptr;
  int error = 0;
  std::string subject;
};

/** Opens a socket in the namespace at a path. Must run in a thread of its own, which stays in that namespace. */
void OpenInside(const std::string& path, UniqueFd& socket_fd, Opened& opened) {
  const UniqueFd netns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns || setns(netns.get(), CLONE_NEWNET) != 0) {
    opened = {"enter", errno, path};
    return;
  }
  socket_fd = UniqueFd(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_fd) opened = {"open packet socket", errno, path};
}

/** Result of a read. */
struct Taken {
  size_t bytes = 0;
  uint32_t packets = 0;
  /** True if no packet is waiting. Otherwise the target is full, or has as many packets as it may have. */
  bool empty = false;
};

/** Ring buffer that the kernel fills with the packets of a network namespace (TPACKET_V3, man 7 packet). */
class PacketRingHandle final : public Handle {
 public:
  ~PacketRingHandle() override { Close(); }

  Opened Open(const std::string& netns, size_t bytes, uint32_t retire_ms, const sock_fprog& filter) {
    Opened opened;
    if (netns.empty()) {
      fd_ = UniqueFd(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      if (!fd_) return {"open packet socket", errno, "packets"};
    } else {
      try {
        std::thread(OpenInside, std::cref(netns), std::ref(fd_), std::ref(opened)).join();
      } catch (const std::system_error& error) {
        return {"open packet socket", error.code().value(), "thread"};
      }
      if (opened.error != 0) return opened;
    }
    const int version = TPACKET_V3;
    if (setsockopt(fd_.get(), SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) != 0) return Failed("version");
    if (setsockopt(fd_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0) return Failed("filter");
    blocks_ = std::max<size_t>(bytes / kBlockBytes, 2);
    tpacket_req3 request = {};
    request.tp_block_size = kBlockBytes;
    request.tp_block_nr = blocks_;
    request.tp_frame_size = kFrameBytes;
    request.tp_frame_nr = blocks_ * (kBlockBytes / kFrameBytes);
    request.tp_retire_blk_tov = retire_ms;
    if (setsockopt(fd_.get(), SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) != 0) return Failed("ring");
    void* memory = mmap(nullptr, blocks_ * kBlockBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (memory == MAP_FAILED) return Failed("ring");
    ring_ = static_cast<uint8_t*>(memory);
    const int error = Bind(ETH_P_ALL);
    return error == 0 ? Opened{} : Failed("bind");
  }

  /** Returns the name of a device in the ring's namespace; empty if the device is gone. */
  std::string DeviceName(int device) const {
    ifreq request = {};
    request.ifr_ifindex = device;
    return ioctl(fd_.get(), SIOCGIFNAME, &request) == 0
               ? std::string(request.ifr_name, strnlen(request.ifr_name, IFNAMSIZ))
               : "";
  }

  /**
   * Copies packets as enhanced packet blocks. Calls `interface_of` for the first packet of each device, for the number
   * of its interface block.
   */
  template <typename InterfaceOf>
  Taken Read(uint8_t* target, size_t bytes, uint32_t packets_max, InterfaceOf interface_of) {
    Taken taken;
    for (;;) {
      tpacket_block_desc* block = Block();
      if ((__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0) {
        taken.empty = true;
        return taken;
      }
      if (packet_ == nullptr) packet_ = reinterpret_cast<uint8_t*>(block) + block->hdr.bh1.offset_to_first_pkt;
      while (read_ < block->hdr.bh1.num_pkts) {
        if (taken.packets == packets_max) return taken;
        const auto* header = reinterpret_cast<const tpacket3_hdr*>(packet_);
        const auto* link = reinterpret_cast<const sockaddr_ll*>(packet_ + TPACKET_ALIGN(sizeof(tpacket3_hdr)));
        auto known = interfaces_.find(link->sll_ifindex);
        if (known == interfaces_.end()) {
          known = interfaces_.emplace(link->sll_ifindex, interface_of(link->sll_ifindex)).first;
        }
        const size_t size = Write(target + taken.bytes, bytes - taken.bytes, *header, *link, known->second);
        if (size == 0) return taken;
        taken.bytes += size;
        taken.packets++;
        read_++;
        packet_ += header->tp_next_offset;
      }
      packet_ = nullptr;
      read_ = 0;
      __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
      at_ = (at_ + 1) % blocks_;
    }
  }

  /**
   * Adds up the kernel's counts, which it resets when they are read. Returns 0 or an errno.
   * @param received packets that passed the filter, including dropped ones
   */
  int Count(uint64_t& received, uint64_t& dropped) {
    tpacket_stats_v3 now = {};
    socklen_t size = sizeof(now);
    if (getsockopt(fd_.get(), SOL_PACKET, PACKET_STATISTICS, &now, &size) != 0) return errno;
    received = received_ += now.tp_packets;
    dropped = dropped_ += now.tp_drops;
    return 0;
  }

  /**
   * Ends the reception of packets. Binding to another protocol makes the kernel wait for packets that it is
   * processing (net/packet/af_packet.c, __unregister_prot_hook()), so the counts are final afterwards.
   */
  int Stop() { return Bind(kNoProtocol); }

  int Watch(Napi::Env env, Napi::Function call) { return watch_.Start(env, fd_.get(), call); }
  void Unwatch() { watch_.Stop(); }

 protected:
  void Release() final {
    watch_.Stop();
    if (ring_ != nullptr) munmap(ring_, blocks_ * kBlockBytes);
    ring_ = nullptr;
    fd_.reset();
  }

 private:
  Opened Failed(const char* what) const { return {"open packet socket", errno, what}; }

  int Bind(uint16_t protocol) {
    sockaddr_ll address = {};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(protocol);
    return bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
  }

  tpacket_block_desc* Block() { return reinterpret_cast<tpacket_block_desc*>(ring_ + at_ * kBlockBytes); }

  /** Writes one block, and returns its size; 0 if it does not fit. */
  size_t Write(uint8_t* target, size_t room, const tpacket3_hdr& header, const sockaddr_ll& link, uint32_t interface) {
    // The kernel removes the tag of a VLAN from the packet.
    const bool is_tagged = (header.tp_status & TP_STATUS_VLAN_VALID) != 0;
    const size_t front = sizeof(CookedHeader) + (is_tagged ? sizeof(VlanTag) : 0);
    const uint32_t captured = front + header.tp_snaplen;
    const size_t padded = (captured + 3) & ~size_t{3};
    const size_t total = sizeof(BlockHeader) + padded + sizeof(uint32_t);
    if (total > room) return 0;
    const uint64_t time = uint64_t{header.tp_sec} * 1000000000 + header.tp_nsec;
    const BlockHeader start = {kEnhancedPacket,
                               static_cast<uint32_t>(total),
                               interface,
                               static_cast<uint32_t>(time >> 32),
                               static_cast<uint32_t>(time),
                               captured,
                               static_cast<uint32_t>(front + header.tp_len)};
    CookedHeader cooked = {};
    cooked.protocol = link.sll_protocol;
    cooked.device = htonl(link.sll_ifindex);
    cooked.hardware = htons(link.sll_hatype);
    cooked.packet_type = link.sll_pkttype;
    cooked.address_bytes = std::min<uint8_t>(link.sll_halen, sizeof(cooked.address));
    memcpy(cooked.address, link.sll_addr, cooked.address_bytes);
    const VlanTag tag = {htons(header.hv1.tp_vlan_tci), link.sll_protocol};
    if (is_tagged) {
      const bool has_protocol = (header.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
      cooked.protocol = htons(has_protocol ? header.hv1.tp_vlan_tpid : ETH_P_8021Q);
    }
    memcpy(target, &start, sizeof(start));
    uint8_t* at = target + sizeof(start);
    memcpy(at, &cooked, sizeof(cooked));
    if (is_tagged) memcpy(at + sizeof(cooked), &tag, sizeof(tag));
    memcpy(at + front, reinterpret_cast<const uint8_t*>(&header) + header.tp_net, header.tp_snaplen);
    memset(at + captured, 0, padded - captured);
    memcpy(at + padded, &start.total, sizeof(start.total));
    return total;
  }

  UniqueFd fd_;
  FdWatch watch_;
  uint8_t* ring_ = nullptr;
  size_t blocks_ = 0;
  /** Number of the block that is read next, and position in it. */
  size_t at_ = 0;
  const uint8_t* packet_ = nullptr;
  uint32_t read_ = 0;
  uint64_t received_ = 0, dropped_ = 0;
  std::unordered_map<int, uint32_t> interfaces_;
};

class PacketRingWrap : public Napi::ObjectWrap<PacketRingWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "NativePacketRing",
        {InstanceMethod<&PacketRingWrap::Read>("read"), InstanceMethod<&PacketRingWrap::DeviceName>("deviceName"),
         InstanceMethod<&PacketRingWrap::Counts>("counts"), InstanceMethod<&PacketRingWrap::Stop>("stop"),
         InstanceMethod<&PacketRingWrap::Watch>("watch"), InstanceMethod<&PacketRingWrap::Unwatch>("unwatch"),
         InstanceMethod<&PacketRingWrap::Close>("close")});
  }

  explicit PacketRingWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PacketRingWrap>(info) {
    const std::string netns = info[0].As<Napi::String>();
    auto filter = info[3].As<Napi::Uint8Array>();
    const sock_fprog program = {static_cast<unsigned short>(filter.ByteLength() / sizeof(sock_filter)),
                                reinterpret_cast<sock_filter*>(filter.Data())};
    auto handle = std::make_shared<PacketRingHandle>();
    const Opened opened = handle->Open(netns, info[1].As<Napi::Number>().Uint32Value(),
                                       info[2].As<Napi::Number>().Uint32Value(), program);
    if (opened.error != 0) Throw(info.Env(), opened.operation, opened.error, opened.subject);
    handle_ = std::move(handle);
  }

 private:
  Napi::Value Read(const Napi::CallbackInfo& info) {
    CheckOpen(info, "read packets");
    auto target = info[0].As<Napi::Uint8Array>();
    auto interface_of = info[2].As<Napi::Function>();
    const Taken taken =
        handle_->Read(target.Data(), target.ByteLength(), info[1].As<Napi::Number>().Uint32Value(), [&](int device) {
          const Napi::Value number = interface_of.Call({Napi::Number::New(info.Env(), device)});
          return number.As<Napi::Number>().Uint32Value();
        });
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("bytes", static_cast<double>(taken.bytes));
    result.Set("packets", taken.packets);
    result.Set("empty", taken.empty);
    return result;
  }

  Napi::Value DeviceName(const Napi::CallbackInfo& info) {
    CheckOpen(info, "read packets");
    return Napi::String::New(info.Env(), handle_->DeviceName(info[0].As<Napi::Number>().Int32Value()));
  }

  Napi::Value Counts(const Napi::CallbackInfo& info) {
    CheckOpen(info, "read packets");
    uint64_t received = 0, dropped = 0;
    const int error = handle_->Count(received, dropped);
    if (error != 0) Throw(info.Env(), "read packets", error, "counts");
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("received", static_cast<double>(received));
    result.Set("dropped", static_cast<double>(dropped));
    return result;
  }

  void Stop(const Napi::CallbackInfo& info) {
    CheckOpen(info, "read packets");
    const int error = handle_->Stop();
    if (error != 0) Throw(info.Env(), "read packets", error, "bind");
  }

  void Watch(const Napi::CallbackInfo& info) {
    CheckOpen(info, "read packets");
    const int error = handle_->Watch(info.Env(), info[0].As<Napi::Function>());
    if (error != 0) Throw(info.Env(), "read packets", error, "watch");
  }

  void Unwatch(const Napi::CallbackInfo& info) {
    CheckOpen(info, "read packets");
    handle_->Unwatch();
  }

  void Close(const Napi::CallbackInfo&) { handle_->Close(); }

  void CheckOpen(const Napi::CallbackInfo& info, const char* operation) {
    if (handle_->closed()) Throw(info.Env(), operation, EBADF, "packets", "closed");
  }

  std::shared_ptr<PacketRingHandle> handle_;
};

}  // namespace

void InitPackets(Napi::Env env, Napi::Object exports) { exports.Set("PacketRing", PacketRingWrap::Define(env)); }

}  // namespace bpf_napi
