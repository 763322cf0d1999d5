"""Traffic through tunnels."""

import socket

from stage import pattern, rest


def tunnelled(t, kind, options, outer, below=lambda ns: ""):
    """Creates a tunnel, and exchanges data through it. In the twin, one outer packet is lost."""
    names = {ns: t.name() for ns in (t.a, t.b)}
    ends = {t.a: t.inner(2, 1), t.b: t.inner(2, 2)}
    for ns, other in ((t.a, t.b), (t.b, t.a)):
        t.ip(ns, f"link add {names[ns]} {below(ns)} type {kind} {options(ns, other)}")
        t.callback(t.ip, ns, f"link del {names[ns]}")
        # The device must have no link-local address, because it would send packets to the other end, which does not exist yet.
        t.ip(ns, f"link set {names[ns]} addrgenmode none")
        t.ip(ns, f"link set {names[ns]} up")
    join(t, names, ends)
    return through(t, ends, outer)


def through(t, ends, outer):
    server, client = t.answered(t.a, t.b, ends[t.b])
    _ = t.listen(t.b, address=ends[t.b])
    stream = t.sock(t.a)
    stream.connect((ends[t.b], t.port))
    peer = t.accept(_)
    t.exchange(stream, peer, 30_000)
    stream.close()
    peer.close()
    rest()
    t.lose(outer, hook="prerouting")
    client.sendto(b"x", (ends[t.b], t.port))
    rest()
    server.close()


def join(t, names, ends):
    """Adds addresses once both devices exist, and removes them before the devices. Devices with addresses send packets, for which both ends must exist."""
    t.callback(rest, 0.05)
    for ns in names:
        t.give(ns, names[ns], ends[ns])
        t.callback(t.ip, ns, f"addr flush dev {names[ns]}")


def ends_of(t, ns, other):
    return f"local {t.address[ns]} remote {t.address[other]}"


@pattern
def vxlan(t):
    extra = "udp6zerocsumtx udp6zerocsumrx" if t.v6 else ""
    tunnelled(t, "vxlan", lambda ns, other: f"id 7 dstport 4789 dev {t.device[ns]} {ends_of(t, ns, other)} {extra}", "udp dport 4789")


@pattern
def vxlan_start(t):
    """A VXLAN device sends announcements before it has an entry for any other host."""
    name = t.name()
    t.ip(t.a, f"link add {name} type vxlan id 8 dstport 4790 dev {t.device[t.a]} local {t.address[t.a]} nolearning")
    t.callback(t.ip, t.a, f"link del {name}")
    t.ip(t.a, f"link set {name} up")
    t.give(t.a, name, t.inner(3, 1))
    s = t.sock(t.a, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 25, name.encode() + b"\0")
    for _ in range(3):
        s.sendto(b"x", ("ff05::7777" if t.v6 else "239.7.7.7", t.port))
    rest()
    t.lose(f"udp dport {t.port}")
    server = t.udp(t.b, t.port)
    if t.twin:
        t.udp(t.a).sendto(b"x", (t.address[t.b], t.port))
        rest()
    server.close()


@pattern
def geneve(t):
    extra = "udp6zerocsumtx udp6zerocsumrx" if t.v6 else ""
    tunnelled(t, "geneve", lambda ns, other: f"id 7 remote {t.address[other]} {extra}", "udp dport 6081")


@pattern
def ipip(t):
    if t.v6:
        tunnelled(t, "ip6tnl", lambda ns, other: f"mode ip6ip6 {ends_of(t, ns, other)}", "ip6 nexthdr { ipv6, 60 }")
    else:
        tunnelled(t, "ipip", lambda ns, other: ends_of(t, ns, other), "ip protocol 4")


@pattern
def gre(t):
    tunnelled(t, "ip6gre" if t.v6 else "gre", lambda ns, other: ends_of(t, ns, other), "meta l4proto gre")


@pattern
def sit(t):
    """Sends IPv6 in IPv4."""
    outer = {ns: t.address[ns] for ns in (t.a, t.b)}
    t.v6, t.family = True, socket.AF_INET6
    names = {ns: t.name() for ns in outer}
    ends = {t.a: "fd77:7::1", t.b: "fd77:7::2"}
    for ns, other in ((t.a, t.b), (t.b, t.a)):
        t.ip(ns, f"link add {names[ns]} type sit local {outer[ns]} remote {outer[other]}")
        t.callback(t.ip, ns, f"link del {names[ns]}")
        t.ip(ns, f"link set {names[ns]} addrgenmode none")
        t.ip(ns, f"link set {names[ns]} up")
    join(t, names, ends)
    through(t, ends, "ip protocol 41")


@pattern
def vlan(t):
    tunnelled(t, "vlan", lambda ns, other: "id 7", f"udp dport {t.port}", lambda ns: f"link {t.device[ns]}")


@pattern
def ipsec(t):
    """Sends ESP in transport mode."""
    for ns in (t.a, t.b):
        for source, target, spi in ((t.a, t.b, "0x1001"), (t.b, t.a, "0x1002")):
            keys = "enc cbc(aes) 0x00112233445566778899aabbccddeeff auth hmac(sha256) 0x" + "01" * 32
            enc, auth = keys.split(" auth ")
            command = f"xfrm state add src {t.address[source]} dst {t.address[target]} proto esp spi {spi} mode transport"
            t.run(ns, "ip", *command.split(), *enc.split(), "auth", *auth.split())
            way = "out" if source == ns else "in"
            t.ip(ns, f"xfrm policy add src {t.address[source]} dst {t.address[target]} dir {way} tmpl proto esp mode transport")
        t.callback(lambda ns=ns: (t.ip(ns, "xfrm policy flush"), t.ip(ns, "xfrm state flush")))
    through(t, dict(t.address), "meta l4proto esp")
