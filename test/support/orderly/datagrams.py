"""UDP, ICMP and raw sockets."""

import os
import socket
import struct

from stage import checksum, pattern, rest

UDP_SEGMENT = 103
GROUP = {False: "239.7.7.7", True: "ff05::7777"}
ALL_HOSTS = {False: "224.0.0.1", True: "ff02::1"}


@pattern
def udp_exchange(t):
    _, client = t.answered(t.a, t.b, t.address[t.b])
    if t.twin:
        client.sendto(b"x", (t.address[t.b], t.port + 1))
        rest()


@pattern
def udp_unread(t):
    """Closes a socket that has unread datagrams."""
    server, client = t.udp(t.b, t.port), t.udp(t.a)
    for _ in range(20):
        client.sendto(b"x" * 500, (t.address[t.b], t.port))
    if t.twin:
        reader = t.udp(t.b, t.port + 1)
        reader.setblocking(False)
        t.inject(t.a, t.datagram(t.address[t.a], t.address[t.b], (40_000, t.port + 1), b"x" * 500, wrong=0x5555))
        rest()
        try:
            reader.recv(1000)
            raise AssertionError("the checksum was wrong, and the datagram came")
        except BlockingIOError:
            pass
    rest()
    server.close()
    rest()


@pattern
def udp_peeked(t):
    """Datagrams are first peeked at and then read, and each counts only once."""
    server, client = t.udp(t.b, t.port), t.udp(t.a)
    t.lose(f"udp dport {t.port}")
    for _ in range(5):
        client.sendto(b"x", (t.address[t.b], t.port))
    rest()
    for _ in range(4 if t.twin else 5):
        server.recv(10, socket.MSG_PEEK)
        server.recv(10)


@pattern
def udp_segments(t):
    """Sends ten datagrams in one call."""
    server, client = t.udp(t.b, t.port), t.udp(t.a)
    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
    t.lose(f"udp dport {t.port + 1}")
    other = t.udp(t.b, t.port + 1)
    client.sendto(b"x" * 10_000, (t.address[t.b], t.port))
    assert sum(len(server.recv(65536)) for _ in range(10)) == 10_000
    t.udp(t.a).sendto(b"x", (t.address[t.b], t.port + 1))
    rest()
    other.close()


@pattern
def udp_loopback(t):
    address = "::1" if t.v6 else "127.0.0.1"
    _, client = t.answered(t.a, t.a, address)
    if t.twin:
        client.sendto(b"x", (address, t.port + 1))
        rest()


@pattern
def fragments(t):
    """Sends datagrams in fragments, which the receiver reassembles."""
    for size in (3_000, 20_000):
        t.answered(t.a, t.b, t.address[t.b], port=t.port + size // 1000, protocol_size=size)
    if t.twin:
        # The second fragment is never sent, so reassembly times out.
        t.sysctl(t.b, "ipv6/ip6frag_time" if t.v6 else "ipv4/ipfrag_time", 1)
        half = struct.pack("!HHHH", 40_000, t.port, 1600, 0) + bytes(800)
        if t.v6:
            packet = t.headed(t.address[t.a], t.address[t.b], 44, struct.pack("!BBHI", 17, 0, 1, 77) + half)
        else:
            packet = t.headed(t.address[t.a], t.address[t.b], 17, half, identity=77, fragment=0x2000)
        t.inject(t.a, packet)
        rest(1.3)


@pattern
def fragments_out_of_order(t):
    server = t.udp(t.b, t.port)
    whole = t.datagram(t.address[t.a], t.address[t.b], (40_000, t.port), bytes(1200))[40 if t.v6 else 20 :]
    pieces = [(whole[start : start + 400], start, start + 400 < len(whole)) for start in range(0, len(whole), 400)]
    t.lose(f"udp dport {t.port + 1}")
    for data, start, more in reversed(pieces):
        if t.v6:
            payload = struct.pack("!BBHI", 17, 0, start | more, 78) + data
            t.inject(t.a, t.headed(t.address[t.a], t.address[t.b], 44, payload))
        else:
            field = start // 8 | (0x2000 if more else 0)
            t.inject(t.a, t.headed(t.address[t.a], t.address[t.b], 17, data, identity=78, fragment=field))
    assert len(server.recv(5000)) == 1200
    if t.twin:
        t.udp(t.a).sendto(b"x", (t.address[t.b], t.port + 1))
        rest()


def echo(t, kind, ns, address, answers=True):
    """Pings five times. Returns after the last reply."""
    s = t.sock(ns, kind, socket.IPPROTO_ICMPV6 if t.v6 else socket.IPPROTO_ICMP)
    s.settimeout(1)
    asked, answered = (128, 129) if t.v6 else (8, 0)
    for number in range(5):
        body = struct.pack("!HH", t.port, number) + b"x" * 40
        check = 0 if t.v6 else checksum(struct.pack("!BBH", asked, 0, 0) + body)
        s.sendto(struct.pack("!BBH", asked, 0, check) + body, (address, 0))
        try:
            while answers:
                data = s.recv(2000)
                if kind == socket.SOCK_RAW and not t.v6:
                    data = data[20:]
                if data[0] == answered:
                    break
        except TimeoutError:
            assert t.twin, "no answer"
    return s


def pinged(t, kind, ns, address):
    if kind == socket.SOCK_DGRAM:
        t.sysctl(ns, "ipv4/ping_group_range", "0 2147483647")
    reply = "icmpv6 type echo-reply" if t.v6 else "icmp type echo-reply"
    t.lose(reply, t.a)
    echo(t, kind, ns, address).close()
    rest()


@pattern
def ping_raw(t):
    pinged(t, socket.SOCK_RAW, t.a, t.address[t.b])


@pattern
def ping_dgram(t):
    pinged(t, socket.SOCK_DGRAM, t.a, t.address[t.b])


@pattern
def ping_raw_loopback(t):
    pinged(t, socket.SOCK_RAW, t.a, "::1" if t.v6 else "127.0.0.1")


@pattern
def ping_dgram_loopback(t):
    pinged(t, socket.SOCK_DGRAM, t.a, "::1" if t.v6 else "127.0.0.1")


@pattern
def ping_answer_late(t):
    """An echo reply arrives after the requesting process has exited."""
    source, target = t.address[t.b], t.address[t.a]
    for wrong in (0, 0x5555) if t.twin else (0,):
        t.inject(t.b, t.icmp(source, target, 129 if t.v6 else 0, 0, struct.pack("!HH", 7, 7), b"x" * 40, wrong))
    rest()


def unreachable(t, quoted, wrong=0):
    """Sends an ICMP error that reports a closed port."""
    kind, code = (1, 4) if t.v6 else (3, 3)
    t.inject(t.b, t.icmp(t.address[t.b], t.address[t.a], kind, code, bytes(4), quoted, wrong))


@pattern
def icmp_error_to_socket(t):
    """An ICMP error about a socket's packet is reported to the socket."""
    client = t.udp(t.a, t.port)
    client.connect((t.address[t.b], t.port))
    quoted = t.datagram(t.address[t.a], t.address[t.b], (t.port, t.port))
    for wrong in (0x5555, 0) if t.twin else (0,):
        unreachable(t, quoted, wrong)
    rest()
    try:
        client.recv(10)
        raise AssertionError("no error came")
    except ConnectionRefusedError:
        pass


@pattern
def icmp_error_to_nobody(t):
    """An ICMP error about a packet that this host did not send, or whose socket is closed."""
    quoted = t.datagram(t.address[t.a], t.address[t.b], (t.port, t.port))
    for wrong in (0x5555, 0) if t.twin else (0,):
        unreachable(t, quoted, wrong)
    unreachable(t, t.segment(t.address[t.a], t.address[t.b], (t.port, t.port), 1, 1, 16))
    rest()


@pattern
def path_mtu(t):
    """A router has a smaller MTU and reports it, and the sender then uses smaller packets."""
    server, client = t.udp(t.b, t.port), t.udp(t.a)
    client.sendto(b"x" * 1400, (t.address[t.b], t.port))
    server.recv(2000)
    quoted = t.datagram(t.address[t.a], t.address[t.b], (client.getsockname()[1], t.port), bytes(1000))[:1200]
    kind, code, mtu = (2, 0, struct.pack("!I", 1300)) if t.v6 else (3, 4, struct.pack("!HH", 0, 1300))
    t.inject(t.b, t.icmp(t.address[t.b], t.address[t.a], kind, code, mtu, quoted))
    rest()
    client.sendto(b"x" * 1400, (t.address[t.b], t.port))
    assert len(server.recv(2000)) == 1400
    t.ip(t.a, f"{'-6 ' if t.v6 else ''}route flush cache")
    if t.twin:
        t.ip(t.b, f"link set {t.device[t.b]} mtu 1280")
        t.callback(t.ip, t.b, f"link set {t.device[t.b]} mtu 1500")
        client.sendto(b"x" * 1400, (t.address[t.b], t.port))
        rest()


@pattern
def raw_protocol(t):
    """A raw socket receives packets of its own protocol."""
    server = t.sock(t.b, socket.SOCK_RAW, 253)
    server.settimeout(1)
    client = t.sock(t.a, socket.SOCK_RAW, 253)
    client.sendto(b"hello" * 20, (t.address[t.b], 0))
    assert server.recv(500).endswith(b"hello" * 20)
    server.close()
    if t.twin:
        client.sendto(b"hello" * 20, (t.address[t.b], 0))
        rest()


def join(t, s, ns, group):
    index = socket.if_nametoindex(t.device[ns])
    if t.v6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(t.family, group) + struct.pack("I", index))
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("!II", 0, 0)[:4] + struct.pack("I", index))


def cast(t, group, port, count=5, data=b"x"):
    """Sends datagrams to a multicast group."""
    s = t.sock(t.a, socket.SOCK_DGRAM)
    index = socket.if_nametoindex(t.device[t.a])
    if t.v6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("IIi", 0, 0, index))
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    for _ in range(count):
        s.sendto(data, (group, port))
    s.close()


@pattern
def multicast_joined(t):
    server = t.udp(t.b, t.port)
    join(t, server, t.b, GROUP[t.v6])
    t.lose(f"udp dport {t.port}")
    cast(t, GROUP[t.v6], t.port)
    for _ in range(4 if t.twin else 5):
        server.recv(10)
    server.close()
    rest()


@pattern
def multicast_not_joined(t):
    t.lose(f"udp dport {t.port}", hook="prerouting")
    cast(t, GROUP[t.v6], t.port)
    rest()


@pattern
def multicast_to_all(t):
    """Sends datagrams to a closed port of all hosts, by their multicast group."""
    t.lose(f"udp dport {t.port}")
    cast(t, ALL_HOSTS[t.v6], t.port)
    rest()


@pattern
def multicast_dns(t):
    """Sends multicast DNS to two hosts, of which only one listens."""
    group = "ff02::fb" if t.v6 else "224.0.0.251"
    question = struct.pack("!6H", 0, 0, 1, 0, 0, 0) + b"\x05_http\x04_tcp\x05local\0" + struct.pack("!2H", 12, 1)
    cast(t, group, 5353, 2, question)
    server = t.udp(t.b, 5353)
    join(t, server, t.b, group)
    t.lose("udp dport 5353")
    cast(t, group, 5353, 3, question)
    for _ in range(2 if t.twin else 3):
        server.recv(100)
    server.close()
    rest()


@pattern
def multicast_own(t):
    """A sender that has joined its own group receives its own packets."""
    enter_socket = t.udp(t.a, t.port)
    join(t, enter_socket, t.a, GROUP[t.v6])
    index = socket.if_nametoindex(t.device[t.a])
    if t.v6:
        enter_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        enter_socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("IIi", 0, 0, index))
    t.lose(f"udp dport {t.port}", t.a)
    for _ in range(5):
        enter_socket.sendto(b"x", (GROUP[t.v6], t.port))
    for _ in range(4 if t.twin else 5):
        enter_socket.recv(10)
    enter_socket.close()
    rest()


@pattern
def broadcast(t):
    """A service announces itself to hosts that do not listen."""
    s = t.sock(t.a, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    t.lose(f"udp dport {t.port}")
    for _ in range(10):
        s.sendto(b"x", (t.address[t.a].rpartition(".")[0] + ".255", t.port))
    rest()


@pattern
def ping_all(t):
    """Pings the broadcast address (IPv4) or the group of all hosts (IPv6)."""
    if t.v6:
        address = f"ff02::1%{t.device[t.a]}"
        s = t.sock(t.a, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        target = (address.split("%")[0], 0, 0, socket.if_nametoindex(t.device[t.a]))
    else:
        s = t.sock(t.a, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        target = (t.address[t.a].rpartition(".")[0] + ".255", 0)
    t.lose("icmpv6 type echo-request" if t.v6 else "icmp type echo-request")
    for number in range(3):
        body = struct.pack("!HH", 1, number) + b"x" * 8
        kind = 128 if t.v6 else 8
        s.sendto(struct.pack("!BBH", kind, 0, checksum(struct.pack("!BBH", kind, 0, 0) + body)) + body, target)
    rest()
    s.close()


@pattern
def sniffer(t):
    """Packet sockets are opened, and closed while they have unread packets."""
    sniffers = [t.sniff(ns) for ns in (t.a, t.b)]
    _, client, peer = t.connected()
    t.lose_tcp()
    t.exchange(client, peer, 20_000)
    sniffers[0].close()
    t.exchange(client, peer)
    client.close()
    peer.close()
    rest()
    sniffers[1].close()
    rest()
