"""Plays traffic patterns between network namespaces. Reads one request per line from stdin as JSON, and responds with a JSON line.
A request without an id only makes the kernel free a message.

A single process has sockets in all namespaces, so the order of actions at the ends is defined.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
ETHERTYPE = {socket.AF_INET: 0x0800, socket.AF_INET6: 0x86DD}
LIBC = ctypes.CDLL(None, use_errno=True)
PATTERNS = {}

ETHTOOL_STXCSUM = 0x17

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def pattern(function):
    """Registers a pattern. The function's name is the pattern's id in catalogue.ts."""
    PATTERNS[function.__name__] = function
    return function


def enter(ns):
    file = os.open("/run/netns/" + ns, os.O_RDONLY)
    try:
        if LIBC.setns(file, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(file)


def free_message():
    """Makes the kernel free a message with the function that frees packets."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.send(b"x")
    receiver.close()
    sender.close()


def rest(seconds=0.03):
    time.sleep(seconds)


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Stage(contextlib.ExitStack):
    """Hosts, devices and sockets for one pattern. Leaving the context removes everything that was created."""

    def __init__(self, namespaces, v6, twin, port):
        super().__init__()
        self.a, self.b, self.c = (one["name"] for one in namespaces)
        self.v6, self.twin, self.port = v6, twin, port
        self.family = socket.AF_INET6 if v6 else socket.AF_INET
        self.device = {one["name"]: one["device"] for one in namespaces}
        self.mac = {one["name"]: bytes.fromhex(one["mac"].replace(":", "")) for one in namespaces}
        self.address = {one["name"]: one["ipv6" if v6 else "ipv4"] for one in namespaces}
        self.names = 0

    # Commands

    def run(self, ns, *command, text=None):
        enter(ns)
        return subprocess.run(command, check=True, input=text, text=True, capture_output=True).stdout

    def ip(self, ns, line):
        return self.run(ns, "ip", *line.split())

    def tc(self, ns, line):
        return self.run(ns, "tc", *line.split())

    def sysctl(self, ns, key, value):
        enter(ns)
        path = "/proc/sys/net/" + key
        with open(path) as file:
            before = file.read()
        self.write(path, value)
        self.callback(lambda: (enter(ns), self.write(path, before)))

    def write(self, path, value):
        with open(path, "w") as file:
            file.write(str(value))

    def name(self):
        self.names += 1
        return "or%d%s" % (self.port, "abcdefghij"[self.names])

    # Losses, which occur only in the twin

    def lose(self, match, ns=None, hook="input", family="inet"):
        """In the twin, drops exactly one packet: the next one that matches."""
        if not self.twin:
            return
        ns = ns or self.b
        rule = f"add table {family} lose; add chain {family} lose c {{ type filter hook {hook} priority 0; }}; "
        rule += f"add rule {family} lose c {match} limit rate 1/hour burst 1 packets drop"
        self.run(ns, "nft", "-f", "-", text=rule)
        self.callback(lambda: self.run(ns, "nft", "delete", "table", family, "lose"))

    def lose_tcp(self, flags=0, ns=None, hook="input"):
        """In the twin, drops the connection's next segment that has at least these flags."""
        mask = f" tcp flags & {flags} == {flags}" if flags else ""
        ns = ns or self.b
        self.lose(f"tcp {'dport' if ns == self.b else 'sport'} {self.port}{mask}", ns, hook)

    def repair(self, seconds=0.5):
        """In the twin, waits until the lost segment has been retransmitted."""
        if self.twin:
            rest(seconds)

    # Sockets

    def sock(self, ns, kind=socket.SOCK_STREAM, protocol=0, family=None):
        enter(ns)
        return self.enter_context(socket.socket(family or self.family, kind, protocol))

    def listen(self, ns=None, port=None, backlog=32, protocol=0, address=None):
        ns = ns or self.b
        server = self.sock(ns, protocol=protocol)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address or self.address[ns], port or self.port))
        server.listen(backlog)
        return server

    def accept(self, server):
        return self.enter_context(server.accept()[0])

    def connected(self, protocol=0, server_protocol=None, address=None, ns=None):
        server = self.listen(ns or self.b, protocol=protocol if server_protocol is None else server_protocol, address=address)
        client = self.sock(ns or self.a, protocol=protocol)
        client.connect((address or self.address[self.b], self.port))
        return server, client, self.accept(server)

    def udp(self, ns, port=0, address=""):
        s = self.sock(ns, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address or ("::" if self.v6 else "0.0.0.0"), port))
        s.settimeout(2)
        return s

    def exchange(self, client, peer, size=2000):
        """Sends a request and a response."""
        for sender, receiver in ((client, peer), (peer, client)):
            sender.sendall(b"x" * size)
            self.take(receiver, size)

    def take(self, receiver, size):
        receiver.settimeout(5)
        while size > 0:
            data = receiver.recv(min(size, 65536))
            assert data, "the stream ended %d bytes early" % size
            size -= len(data)

    def pump(self, sender, receiver, size):
        """Transfers `size` bytes, and alternates between sending and receiving."""
        data, sent, got, deadline = bytes(65536), 0, 0, time.monotonic() + 20
        sender.setblocking(False)
        receiver.setblocking(False)
        while got < size:
            assert time.monotonic() < deadline, "%d of %d bytes arrived" % (got, size)
            readable, writable, _ = select.select([receiver], [sender] if sent < size else [], [], 1)
            if writable:
                sent += sender.send(data[: size - sent])
            if readable:
                part = receiver.recv(1 << 20)
                assert part, "the stream ended at %d bytes" % got
                got += len(part)
        sender.setblocking(True)
        receiver.setblocking(True)

    # Raw packets

    def headed(self, source, target, protocol, payload, hops=64, identity=1, fragment=0):
        """Returns an IP packet."""
        a, b = (socket.inet_pton(self.family, x) for x in (source, target))
        if self.v6:
            return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + a + b + payload
        def header(check):
            return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identity, fragment, hops, protocol, check) + a + b
        return header(checksum(header(0))) + payload

    def summed(self, source, target, protocol, header, payload, wrong=0):
        """Returns header and payload. `header` is called with the checksum over pseudo header, header and payload."""
        a, b = (socket.inet_pton(self.family, x) for x in (source, target))
        size = len(header(0)) + len(payload)
        pseudo = a + b + (struct.pack("!IHBB", size, 0, 0, protocol) if self.v6 else struct.pack("!BBH", 0, protocol, size))
        return header(checksum(pseudo + header(0) + payload) ^ wrong) + payload

    def segment(self, source, target, ports, seq, ack, flags, payload=b"", wrong=0):
        def header(check):
            return struct.pack("!HHIIBBHHH", *ports, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 512, check, 0)
        return self.headed(source, target, 6, self.summed(source, target, 6, header, payload, wrong))

    def datagram(self, source, target, ports, payload=b"data", wrong=0):
        def header(check):
            return struct.pack("!HHHH", *ports, 8 + len(payload), check)
        return self.headed(source, target, 17, self.summed(source, target, 17, header, payload, wrong))

    def icmp(self, source, target, kind, code, rest_of_header, payload, wrong=0, hops=64):
        def header(check):
            return struct.pack("!BBH", kind, code, check) + rest_of_header
        if self.v6:
            return self.headed(source, target, 58, self.summed(source, target, 58, header, payload, wrong), hops)
        return self.headed(source, target, 1, header(checksum(header(0) + payload) ^ wrong) + payload)

    def inject(self, ns, packet, mac=None, device=None):
        """Sends an IP packet from the device of a namespace to the other end of the pair."""
        s = self.sock(ns, socket.SOCK_DGRAM, 0, socket.AF_PACKET)
        other = self.b if ns == self.a else self.a
        s.sendto(packet, (device or self.device[ns], ETHERTYPE[self.family], 0, 0, mac or self.mac[other]))
        s.close()

    def frame(self, ns, frame, device=None):
        s = self.sock(ns, socket.SOCK_RAW, 0, socket.AF_PACKET)
        s.bind((device or self.device[ns], 0))
        s.send(frame)
        s.close()

    def sniff(self, ns):
        """Returns a socket that receives every frame of the device from now on."""
        s = self.sock(ns, socket.SOCK_RAW, socket.htons(3), socket.AF_PACKET)
        s.bind((self.device[ns], 3))
        return s

    def segments(self, sniffer, incoming=True):
        """Returns the connection's frames that a sniffer has received so far, as (frame, seq, ack, flags, ports, payload size)."""
        found = []
        sniffer.setblocking(False)
        while True:
            try:
                frame, where = sniffer.recvfrom(65536)
            except BlockingIOError:
                return found
            if (where[2] == 4) == incoming:
                continue
            if struct.unpack("!H", frame[12:14])[0] != ETHERTYPE[self.family]:
                continue
            ip = frame[14:]
            protocol, start = (ip[6], 40) if self.v6 else (ip[9], (ip[0] & 15) * 4)
            length = 40 + struct.unpack("!H", ip[4:6])[0] if self.v6 else struct.unpack("!H", ip[2:4])[0]
            if protocol != 6:
                continue
            tcp = ip[start:]
            source, target, seq, ack, offset, flags = struct.unpack("!HHIIBB", tcp[:14])
            if self.port in (source, target):
                found.append((frame, seq, ack, flags, (source, target), length - start - (offset >> 4) * 4))

    # Links

    def link(self, one, other, names=None):
        """Creates a veth pair between two namespaces and sets it up, without addresses. Returns both names."""
        first, second = names or (self.name(), self.name())
        self.ip(one, f"link add {first} type veth peer name {second} netns {other}")
        self.callback(lambda: self.ip(one, f"link del {first}"))
        self.ip(one, f"link set {first} up")
        self.ip(other, f"link set {second} up")
        return first, second

    def mac_of(self, ns, device):
        enter(ns)
        found = json.loads(self.ip(ns, f"-j link show {device}"))[0]["address"]
        return found

    def inner(self, number, host):
        """Returns an address inside a tunnel, from another subnet of the tests."""
        if self.v6:
            return f"{self.address[self.a].split(':')[0]}:{number}::{host}"
        return f"{self.address[self.a].rpartition('.')[0].rpartition('.')[0]}.{200 + number}.{host}"

    def give(self, ns, device, address):
        if self.v6:
            self.ip(ns, f"addr add {address}/64 dev {device} nodad")
        else:
            self.ip(ns, f"addr add {address}/24 dev {device}")

    def introduce(self, ns, device, address, other, other_device):
        self.ip(ns, f"neigh replace {address} lladdr {self.mac_of(other, other_device)} dev {device} nud permanent")

    def route(self, ns, line):
        six = "-6 " if self.v6 else ""
        self.ip(ns, f"{six}route add {line}")
        self.callback(lambda: subprocess.run(["ip", "-n", ns, *f"{six}route del {line}".split()], capture_output=True))

    def answered(self, ns, server_ns, address, port=None, protocol_size=500):
        """Sends a datagram to an address, and waits for its echo."""
        server, client = self.udp(server_ns, port or self.port), self.udp(ns)
        client.sendto(b"x" * protocol_size, (address, port or self.port))
        data, source = server.recvfrom(65536)
        server.sendto(data, source)
        assert client.recv(65536) == data
        return server, client

    def whole_checksums(self):
        """Disables checksum offload so that frames captured on the device are complete and can be sent again."""
        for ns in (self.a, self.b):
            self.offload(ns, self.device[ns], ETHTOOL_STXCSUM, 0)
            self.callback(self.offload, ns, self.device[ns], ETHTOOL_STXCSUM, 1)

    def offload(self, ns, device, command, on):
        """Kernel: include/uapi/linux/ethtool.h"""
        enter(ns)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            value = ctypes.create_string_buffer(struct.pack("II", command, on))
            fcntl.ioctl(s, 0x8946, struct.pack("16sP", device.encode(), ctypes.addressof(value)))


def play(order):
    with Stage(order["namespaces"], order["v6"], order["twin"], order["port"]) as stage:
        PATTERNS[order["id"]](stage)


def main():
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["id"] is None:
                free_message()
            else:
                play(order)
            answer = {}
        except subprocess.CalledProcessError as error:
            answer = {"error": f"{error}: {error.stderr}"}
        except Exception as error:
            import traceback

            answer = {"error": "".join(traceback.format_exception(error))}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.modules["stage"] = sys.modules["__main__"]
    import datagrams, links, neighbours, streams, streams_close, tunnels  # noqa: E401, F401

    print(json.dumps(sorted(PATTERNS)), flush=True)
    main()
