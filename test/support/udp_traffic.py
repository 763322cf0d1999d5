"""
Sends and receives datagrams. Prints the numbers of sent and received datagrams and payload bytes as JSON.

  serve HOST PORT reply|sink|joined  receives until the standard input ends, after printing `ready`. `reply` sends back the first
                                     half of each datagram. `joined` receives several datagrams in one buffer (UDP_GRO).
  call HOST PORT COUNT BYTES connected|unconnected [LOCAL]
                                     sends datagrams of BYTES, BYTES + 1, and so on, and waits for each response
  scatter HOST PORT COUNT BYTES      sends a datagram to each of COUNT ports from one socket, without waiting
  segments HOST PORT SEGMENT BYTES COUNT
                                     passes COUNT buffers of BYTES to the kernel, which splits each buffer into datagrams
                                     of SEGMENT bytes (UDP_SEGMENT)
  offload DEVICE HOST PORT fragments|segments EACH BYTES
                                     creates a device in the subnet of HOST. The device receives one packet that is longer
                                     than its MTU, as from the host of a virtual machine. The packet is a datagram in
                                     fragments of EACH bytes, or consists of datagrams of EACH bytes. Sends nothing if the
                                     device does not support the kind.
"""

import errno
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys

SO_RCVBUFFORCE = 33
UDP_SEGMENT = 103
UDP_GRO = 104
BUFFER = 65_535
RECEIVE_BUFFER = 8 << 20
SETTLE_SECONDS = 0.3

counts = {"sent": [0, 0], "received": [0, 0]}


def count(direction, datagrams, octets):
    counts[direction][0] += datagrams
    counts[direction][1] += octets


def new_socket(host):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(20)
    return sock


def segments_in(octets, segment):
    return max(1, -(-octets // segment))


def receive(sock):
    data, ancillary, _, sender = sock.recvmsg(BUFFER, 64)
    sizes = [struct.unpack("i", value[:4])[0] for level, kind, value in ancillary if (level, kind) == (socket.IPPROTO_UDP, UDP_GRO)]
    count("received", segments_in(len(data), sizes[0]) if sizes else 1, len(data))
    return data, sender


def serve(host, port, style):
    sock = new_socket(host)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    if style == "joined":
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    sock.bind((host, int(port)))
    print("ready", flush=True)
    is_asked = False
    while True:
        ready, _, _ = select.select([sock] if is_asked else [sock, sys.stdin], [], [], SETTLE_SECONDS)
        if sock in ready:
            data, sender = receive(sock)
            if style == "reply":
                count("sent", 1, sock.sendto(data[: len(data) // 2], sender))
        elif sys.stdin in ready:
            is_asked = True
        elif is_asked:
            return


def call(host, port, number, octets, style, local="0"):
    sock = new_socket(host)
    sock.bind(("::" if ":" in host else "0.0.0.0", int(local)))
    if style == "connected":
        sock.connect((host, int(port)))
    for index in range(int(number)):
        data = bytes(int(octets) + index)
        count("sent", 1, sock.send(data) if style == "connected" else sock.sendto(data, (host, int(port))))
        receive(sock)


def scatter(host, first, number, octets):
    sock = new_socket(host)
    for port in range(int(first), int(first) + int(number)):
        count("sent", 1, sock.sendto(bytes(int(octets)), (host, port)))


def segments(host, port, segment, octets, number):
    sock = new_socket(host)
    sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, int(segment))
    sock.connect((host, int(port)))
    for _ in range(int(number)):
        sent = sock.send(bytes(int(octets)))
        count("sent", segments_in(sent, int(segment)), sent)


TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 1, 0x1000, 0x4000
NEEDS_CHECKSUM = 1
# Kernel: include/uapi/linux/if_tun.h. TUN_F_USO stands for TUN_F_USO4 and TUN_F_USO6.
TUNSETOFFLOAD, TUN_F_CSUM, TUN_F_USO = 0x400454D0, 1, 0x60
# Kernel: include/uapi/linux/virtio_net.h, VIRTIO_NET_HDR_GSO_UDP and VIRTIO_NET_HDR_GSO_UDP_L4.
GSO_TYPES = {"fragments": 3, "segments": 5}


def ones_sum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def takes_segments(device):
    try:
        fcntl.ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def offload(name, host, port, kind, each, octets):
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
    if kind == "segments" and not takes_segments(device):
        return
    for command in [f"addr add {host}/24 dev {name}", f"link set {name} up"]:
        subprocess.run(["ip", *command.split()], check=True)
    target = socket.inet_aton(host)
    source = target[:3] + bytes([target[3] + 1])
    length = 8 + int(octets)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 1, 0, 64, 17, 0, source, target)
    header = header[:10] + struct.pack("!H", ones_sum(header) ^ 0xFFFF) + header[12:]
    # The receiver of an offloaded packet expects the sum of the pseudo header in place of the checksum.
    pseudo = ones_sum(source + target + struct.pack("!HH", 17, length))
    datagram = struct.pack("!HHHH", 40_000, int(port), length, pseudo) + bytes(int(octets))
    offloads = struct.pack("=BBHHHH", NEEDS_CHECKSUM, GSO_TYPES[kind], 28, int(each), 20, 6)
    os.write(device, offloads + header + datagram)
    count("sent", 1 if kind == "fragments" else segments_in(int(octets), int(each)), int(octets))


{"serve": serve, "call": call, "scatter": scatter, "segments": segments, "offload": offload}[sys.argv[1]](*sys.argv[2:])
print(json.dumps(counts), flush=True)
