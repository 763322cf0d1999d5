"""Bridges, and devices whose other end is a program or another device."""

import fcntl
import os
import socket
import struct
import subprocess
import tempfile

from stage import ETHERTYPE, PSH, enter, pattern, rest

IFF_TUN, IFF_TAP, IFF_NO_PI = 1, 2, 0x1000
TUNSETIFF = 0x400454CA


class Bridged:
    """Creates a bridge in b, with one port for a and some ports for c. The caller must set the bridge up."""

    def __init__(self, t, ports=1):
        self.t, self.name = t, t.name()
        t.ip(t.b, f"link add {self.name} type bridge")
        t.callback(t.ip, t.b, f"link del {self.name}")
        self.a = self.port(t.a)
        self.c = [self.port(t.c) for _ in range(ports)]
        self.one, self.two = t.inner(6, 1), t.inner(6, 2)

    def port(self, ns):
        port, device = self.t.link(self.t.b, ns)
        self.t.ip(self.t.b, f"link set {port} master {self.name}")
        return port, device

    def up(self):
        t = self.t
        t.ip(t.b, f"link set {self.name} up")
        # A bridge port forwards packets only after the kernel has noticed that its peer is up.
        ports = 1 + len(self.c)
        for _ in range(200):
            if t.run(t.b, "bridge", "link", "show").count("state forwarding") >= ports:
                break
            rest(0.02)
        else:
            raise AssertionError("a port of the bridge does not forward")
        t.give(t.a, self.a[1], self.one)
        t.give(t.c, self.c[0][1], self.two)
        t.introduce(t.a, self.a[1], self.two, t.c, self.c[0][1])
        t.introduce(t.c, self.c[0][1], self.one, t.a, self.a[1])


@pattern
def bridge_start(t):
    """The hosts behind the ports send packets before the bridge is up."""
    bridge = Bridged(t)
    t.udp(t.a)
    for _ in range(3):
        t.frame(t.a, b"\xff" * 6 + bytes.fromhex("020000000007") + struct.pack("!H", ETHERTYPE[t.family]) + bytes(60), bridge.a[1])
    rest(0.1)
    bridge.up()
    t.answered(t.a, t.c, bridge.two)
    lost_behind(t, bridge.two)


def lost_behind(t, address):
    """In the twin, sends a datagram to a closed port."""
    if t.twin:
        t.udp(t.a).sendto(b"x", (address, t.port + 1))
        rest()


@pattern
def bridge_traffic(t):
    bridge = Bridged(t)
    bridge.up()
    t.lose(f"udp dport {t.port + 1}", t.b, hook="forward", family="bridge")
    t.answered(t.a, t.c, bridge.two)
    if t.twin:
        t.udp(t.a).sendto(b"x", (bridge.two, t.port + 1))
        rest()


@pattern
def bridge_flood(t):
    """The destination's port is unknown to the bridge, so it floods the packet to all ports."""
    bridge = Bridged(t, ports=3)
    for port, _ in (bridge.a, *bridge.c):
        t.ip(t.b, f"link set {port} type bridge_slave learning off")
    bridge.up()
    t.answered(t.a, t.c, bridge.two)
    lost_behind(t, bridge.two)


@pattern
def bridge_empty(t):
    """A bridge without ports sends multicast packets of its own."""
    name, address = t.name(), t.inner(7, 1)
    t.ip(t.b, f"link add {name} type bridge")
    t.callback(t.ip, t.b, f"link del {name}")
    t.ip(t.b, f"link set {name} up")
    t.give(t.b, name, address)
    s = t.sock(t.b, socket.SOCK_DGRAM)
    index = socket.if_nametoindex(name)
    if t.v6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("IIi", 0, 0, index))
    for _ in range(3):
        s.sendto(b"x", ("ff05::7777" if t.v6 else "239.7.7.7", t.port))
    t.udp(t.b, t.port)
    t.lose(f"udp dport {t.port}", t.b)
    if t.twin:
        t.udp(t.b).sendto(b"x", (address, t.port))
    rest()


@pattern
def no_carrier(t):
    """A host that has just started sends multicast packets on a device whose peer is not up yet."""
    name, address, other = t.name(), t.inner(11, 1), t.inner(11, 2)
    t.ip(t.b, f"link add {name} type veth peer name {name}p")
    t.callback(t.ip, t.b, f"link del {name}")
    t.ip(t.b, f"link set {name} up")
    t.give(t.b, name, address)
    t.ip(t.b, f"neigh add {other} lladdr 02:00:00:00:00:07 dev {name}")
    s = t.udp(t.b)
    index = socket.if_nametoindex(name)
    if t.v6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("IIi", 0, 0, index))
    for _ in range(3):
        s.sendto(b"x", ("ff05::7777" if t.v6 else "239.7.7.7", t.port))
    if t.twin:
        s.sendto(b"x", (other, t.port))
    rest()


@pattern
def macvlan(t):
    name, address = t.name(), t.inner(8, 1)
    t.ip(t.a, f"link add {name} link {t.device[t.a]} type macvlan mode bridge")
    t.callback(t.ip, t.c, f"link del {name}")
    t.ip(t.a, f"link set {name} netns {t.c}")
    t.ip(t.c, f"link set {name} up")
    t.give(t.c, name, address)
    t.give(t.b, t.device[t.b], t.inner(8, 2))
    t.callback(t.ip, t.b, f"addr del {t.inner(8, 2)}/{64 if t.v6 else 24} dev {t.device[t.b]}")
    t.answered(t.c, t.b, t.inner(8, 2))
    if t.twin:
        t.udp(t.c).sendto(b"x", (t.inner(8, 2), t.port + 1))
        rest()


def opened(t, flags):
    """Opens a tun or tap device, whose other end is this process."""
    enter(t.a)
    name = t.name()
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags | IFF_NO_PI))
    t.ip(t.a, f"link set {name} up")
    t.give(t.a, name, t.inner(9, 1))
    return name, file


def read_all(file):
    packets = []
    while True:
        try:
            packets.append(os.read(file, 65536))
        except BlockingIOError:
            return packets


@pattern
def tun(t):
    """A process reads all packets of a tun device and responds, like a VPN."""
    name, file = opened(t, IFF_TUN)
    client = t.udp(t.a)
    port = client.getsockname()[1]
    there = t.inner(9, 2)
    client.sendto(b"ping", (there, t.port))
    rest()
    assert any(b"ping" in packet for packet in read_all(file))
    os.write(file, t.datagram(there, t.inner(9, 1), (t.port, port), b"pong"))
    assert client.recv(10) == b"pong"
    end(t, file, client, there)


def end(t, file, client, there):
    """Closes the device. In the twin, one packet is left unread."""
    read_all(file)
    if t.twin:
        client.sendto(b"nobody reads", (there, t.port))
    os.close(file)
    rest()


@pattern
def tap(t):
    name, file = opened(t, IFF_TAP)
    there, mac = t.inner(9, 2), "02:00:00:00:00:09"
    t.ip(t.a, f"neigh replace {there} lladdr {mac} dev {name} nud permanent")
    client = t.udp(t.a)
    port = client.getsockname()[1]
    client.sendto(b"ping", (there, t.port))
    rest()
    assert any(b"ping" in packet for packet in read_all(file))
    own = bytes.fromhex(t.mac_of(t.a, name).replace(":", ""))
    head = own + bytes.fromhex(mac.replace(":", "")) + struct.pack("!H", ETHERTYPE[t.family])
    os.write(file, head + t.datagram(there, t.inner(9, 1), (t.port, port), b"pong"))
    assert client.recv(10) == b"pong"
    end(t, file, client, there)


REDIRECT = """
#include <linux/bpf.h>
static long (*redirect)(unsigned int, unsigned long long) = (void *)23;
__attribute__((section("xdp"), used)) int away(struct xdp_md *xdp)
{
	unsigned char *data = (void *)(long)xdp->data;
	static int lost;
	int protocol, at;

	if (data + 62 > (unsigned char *)(long)xdp->data_end)
		return XDP_PASS;
	at = data[12] == 0x86 ? 54 : 34;
	protocol = data[12] == 0x86 ? data[20] : data[23];
	if (protocol != 17 || (data[12] == 0x86 ? data[56] << 8 | data[57] : data[36] << 8 | data[37]) != PORT)
		return XDP_PASS;
	if (LOSE && !lost) {
		lost = 1;
		return XDP_DROP;
	}
	return redirect(INDEX, 0);
}
__attribute__((section("pass"), used)) int through(struct xdp_md *xdp)
{
	return XDP_PASS;
}
"""


@pattern
def xdp_redirect(t):
    """An XDP program redirects packets to another device."""
    t.whole_checksums()
    first, second = t.link(t.b, t.c)
    t.ip(t.c, f"link set {second} address {':'.join('%02x' % byte for byte in t.mac[t.b])}")
    t.give(t.c, second, t.address[t.b])
    folder = t.enter_context(tempfile.TemporaryDirectory())
    with open(f"{folder}/x.c", "w") as file:
        file.write(REDIRECT)
    enter(t.b)
    defines = [f"-DPORT={t.port}", f"-DINDEX={socket.if_nametoindex(first)}", f"-DLOSE={int(t.twin)}"]
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    command = ["clang", "-target", "bpf", "-O2", "-g", include, *defines, "-c", f"{folder}/x.c", "-o", f"{folder}/x.o"]
    subprocess.run(command, check=True, capture_output=True)
    t.ip(t.c, f"link set {second} xdp obj {folder}/x.o sec pass")
    t.ip(t.b, f"link set {t.device[t.b]} xdp obj {folder}/x.o sec xdp")
    t.callback(t.ip, t.b, f"link set {t.device[t.b]} xdp off")
    server, client = t.udp(t.c, t.port), t.udp(t.a)
    for _ in range(5):
        client.sendto(b"x" * 100, (t.address[t.b], t.port))
    for _ in range(4 if t.twin else 5):
        assert len(server.recv(500)) == 100
    rest()


@pattern
def mirror(t):
    """tc mirrors incoming packets to a device that no program reads."""
    name = t.name()
    t.ip(t.b, f"link add {name} type ifb")
    t.callback(t.ip, t.b, f"link del {name}")
    t.ip(t.b, f"link set {name} up")
    t.tc(t.b, f"qdisc add dev {t.device[t.b]} clsact")
    t.callback(t.tc, t.b, f"qdisc del dev {t.device[t.b]} clsact")
    action = f"u32 match u32 0 0 action mirred egress mirror dev {name}"
    t.tc(t.b, f"filter add dev {t.device[t.b]} ingress protocol {'ipv6' if t.v6 else 'ip'} {action}")
    t.lose(f"udp dport {t.port + 1}")
    t.answered(t.a, t.b, t.address[t.b])
    if t.twin:
        t.udp(t.b, t.port + 1)
        t.udp(t.a).sendto(b"x", (t.address[t.b], t.port + 1))
        rest()


@pattern
def forwarded(t):
    """A router forwards the traffic. In the twin, the hop limit of one packet reaches zero."""
    first, second = t.link(t.b, t.c)
    here, there = t.inner(1, 1), t.inner(1, 2)
    t.give(t.b, first, here)
    t.give(t.c, second, there)
    t.introduce(t.b, first, there, t.c, second)
    t.introduce(t.c, second, here, t.b, first)
    t.sysctl(t.b, "ipv6/conf/all/forwarding" if t.v6 else "ipv4/ip_forward", 1)
    prefix = f"{t.inner(1, '')}/64" if t.v6 else f"{t.inner(1, 0)}/24"
    t.route(t.a, f"{prefix} via {t.address[t.b]}")
    t.route(t.c, f"default via {here}")
    t.answered(t.a, t.c, there)
    server = t.listen(t.c, address=there)
    client = t.sock(t.a)
    client.connect((there, t.port))
    peer = t.accept(server)
    t.exchange(client, peer, 100_000)
    client.close()
    peer.close()
    rest()
    if t.twin:
        t.inject(t.a, t.headed(t.address[t.a], there, 17, bytes(12), hops=1))
        rest()
