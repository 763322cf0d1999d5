"""Messages between hosts on one link, and frames for other hosts."""

import socket
import struct
import subprocess

from stage import enter, pattern, rest

BROADCAST = b"\xff" * 6


@pattern
def resolution(t):
    """Both hosts resolve each other's address."""
    first, second = t.link(t.a, t.b)
    one, two = t.inner(1, 1), t.inner(1, 2)
    t.give(t.a, first, one)
    t.give(t.b, second, two)
    if t.v6:
        t.lose("icmpv6 type nd-neighbor-solicit")
    else:
        t.lose("arp operation request", family="arp")
    t.answered(t.a, t.b, two)


@pattern
def resolution_of_others(t):
    """A host resolves the address of a third host by broadcast or multicast."""
    source = t.address[t.a]
    third = t.inner(2, 9)
    if t.v6:
        solicited = "ff02::1:ff00:9"
        body = bytes(4) + socket.inet_pton(t.family, third) + b"\x01\x01" + t.mac[t.a]
        packet = t.icmp(source, solicited, 135, 0, b"", body)
        t.inject(t.a, packet, mac=bytes.fromhex("3333ff000009"))
        t.lose("icmpv6 type nd-neighbor-solicit", hook="prerouting")
        if t.twin:
            t.inject(t.a, packet, mac=t.mac[t.b])
    else:
        def asked(ip):
            body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + t.mac[t.a] + socket.inet_aton(source)
            return BROADCAST + t.mac[t.a] + b"\x08\x06" + body + bytes(6) + socket.inet_aton(ip)
        t.frame(t.a, asked(third))
        t.lose("arp operation request", family="arp")
        if t.twin:
            t.frame(t.a, asked(t.address[t.b]))
    rest()


@pattern
def announcement(t):
    """A host announces its new address to all others."""
    if t.v6:
        body = b"\x20\0\0\0" + socket.inet_pton(t.family, t.address[t.a]) + b"\x02\x01" + t.mac[t.a]
        packet = t.icmp(t.address[t.a], "ff02::1", 136, 0, b"", body)
        packet = packet[:7] + b"\xff" + packet[8:]
        t.lose("icmpv6 type nd-neighbor-advert")
        t.inject(t.a, packet, mac=bytes.fromhex("333300000001"))
    else:
        own = socket.inet_aton(t.address[t.a])
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + t.mac[t.a] + own + bytes(6) + own
        t.lose("arp operation request", family="arp")
        t.frame(t.a, BROADCAST + t.mac[t.a] + b"\x08\x06" + body)
    rest()


@pattern
def new_address(t):
    """A host probes whether its new address is already in use."""
    first, second = t.link(t.a, t.b)
    six = t.inner(3, 1)
    if t.v6:
        t.lose("icmpv6 type nd-neighbor-solicit", hook="prerouting")
        t.ip(t.a, f"addr add {six}/64 dev {first}")
        rest(1.6)
    else:
        # The kernel does not implement RFC 5227, so the test sends the ARP probe that a daemon would send.
        own = socket.inet_aton(six)
        mac = bytes.fromhex(t.mac_of(t.a, first).replace(":", ""))
        t.lose("arp operation request", family="arp")
        t.frame(t.a, BROADCAST + mac + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes(10) + own, first)
    rest()


@pattern
def lease(t):
    """A host gets its IPv4 address by DHCP, and its IPv6 address from a router advertisement."""
    first, second = t.link(t.a, t.b)
    one, two = t.inner(4, 1), t.inner(4, 2)
    t.give(t.b, second, two)
    span = f"{two},constructor:{second},ra-only" if t.v6 else f"{t.inner(4, 10)},{t.inner(4, 20)},60"
    enter(t.b)
    command = ["dnsmasq", "-d", "-p0", "-C/dev/null", "--no-hosts", "--no-ping", "--leasefile-ro", f"--interface={second}"]
    command += ["--bind-interfaces", "-uroot", f"--dhcp-range={'::' + ',' + span.split(',', 1)[1] if t.v6 else span}"]
    command += ["--enable-ra"] if t.v6 else []
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    t.callback(lambda: (server.terminate(), server.wait(), server.stderr.close()))
    rest(0.3)
    assert server.poll() is None, server.stderr.read()
    if t.v6:
        t.lose("icmpv6 type nd-router-solicit")
        t.sysctl(t.a, f"ipv6/conf/{first}/accept_ra", 2)
        t.sysctl(t.a, f"ipv6/conf/{first}/router_solicitations", 3)
        t.ip(t.a, f"link set {first} down")
        t.ip(t.a, f"link set {first} up")
        for _ in range(80):
            if "dynamic" in t.ip(t.a, f"-6 addr show dev {first}"):
                break
            rest(0.1)
        else:
            raise AssertionError("no address")
        if t.twin:
            # An unsolicited advertisement may have arrived before the client's first solicitation, which it then omits.
            solicitation = t.icmp("::", "ff02::2", 133, 0, bytes(4), b"", hops=255)
            t.inject(t.a, solicitation, mac=bytes.fromhex("333300000002"), device=first)
    else:
        t.lose("udp dport 67")
        t.run(t.a, "busybox", "udhcpc", "-f", "-n", "-q", "-T1", "-i", first, "-s", "/bin/true")
    rest()


@pattern
def without_ipv6(t):
    """A host without IPv6 receives the neighbour messages of another host."""
    t.sysctl(t.c, "ipv6/conf/default/disable_ipv6", 1)
    t.sysctl(t.a, "ipv6/conf/default/router_solicitations", 3)
    first, second = t.link(t.a, t.c)
    one, two = t.inner(5, 1), t.inner(5, 2)
    t.give(t.a, first, one)
    rest(1.2)
    if t.v6:
        t.ip(t.a, f"addr add {t.inner(5, 7)}/64 dev {first}")
        rest(0.5)
        if t.twin:
            t.introduce(t.a, first, two, t.c, second)
            t.udp(t.a).sendto(b"x", (two, t.port))
    else:
        t.give(t.c, second, two)
        t.answered(t.a, t.c, two)
        if t.twin:
            t.udp(t.a).sendto(b"x", (two, t.port + 1))
    rest()


def plain(t, target, ethertype, payload):
    return target + t.mac[t.a] + struct.pack("!H", ethertype) + payload.ljust(46, b"\0")


def frames_then_loss(t, *frames):
    """Sends frames that the host does not handle. In the twin, a packet that it does handle is lost at the same device."""
    for one in frames:
        t.frame(t.a, one)
    if t.twin:
        t.inject(t.a, t.datagram(t.address[t.a], t.address[t.b], (40_000, t.port), wrong=0x5555))
    rest()


@pattern
def lldp(t):
    frames_then_loss(t, plain(t, bytes.fromhex("0180c200000e"), 0x88CC, b"\x02\x07\x04" + t.mac[t.a] + b"\x06\x02\0\x78\0\0"))


@pattern
def spanning_tree(t):
    length = 38
    frames_then_loss(t, plain(t, bytes.fromhex("0180c2000000"), length, b"\x42\x42\x03" + bytes(35)))


@pattern
def unknown_protocol(t):
    """Broadcasts a frame of an unknown layer 2 protocol."""
    frames_then_loss(t, plain(t, BROADCAST, 0x88B5, b"hello"))


@pattern
def unknown_vlan(t):
    """Broadcasts a frame with a VLAN tag for which there is no device."""
    inner = t.datagram(t.address[t.a], t.address[t.b], (40_000, t.port))
    frames_then_loss(t, plain(t, BROADCAST, 0x8100, struct.pack("!HH", 77, 0x86DD if t.v6 else 0x0800) + inner))


@pattern
def other_mac(t):
    """A promiscuous device receives frames for another host."""
    t.ip(t.b, f"link set {t.device[t.b]} promisc on")
    t.callback(t.ip, t.b, f"link set {t.device[t.b]} promisc off")
    packet = t.datagram(t.address[t.a], t.address[t.b], (40_000, t.port))
    stranger = bytes.fromhex("020000000001")
    for _ in range(3):
        t.inject(t.a, packet, mac=stranger)
    if t.twin:
        t.inject(t.a, packet)
    rest()
