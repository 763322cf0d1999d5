"""TCP connections while they are open."""

import socket
import threading

from stage import ACK, FIN, PSH, RST, SYN, pattern, rest

MPTCP = 262
TCP_FASTOPEN, MSG_FASTOPEN = 23, 0x20000000
ETHTOOL_SGRO, ETHTOOL_STSO, ETHTOOL_SGSO = 0x2C, 0x1F, 0x24


def end(*sockets):
    for one in sockets:
        one.close()
        rest()


def keepalive(one):
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)


@pattern
def keepalives(t):
    _, client, peer = t.connected()
    t.exchange(client, peer)
    t.lose_tcp()
    keepalive(client)
    rest(1.3)
    t.exchange(client, peer)
    end(client, peer)


@pattern
def keepalives_after_close(t):
    """The server has closed, and waits for the client's FIN in FIN_WAIT2."""
    _, client, peer = t.connected()
    t.exchange(client, peer)
    peer.close()
    rest()
    t.lose_tcp()
    keepalive(client)
    rest(1.3)
    assert client.recv(1) == b""
    end(client)


@pattern
def zero_window(t):
    """The reader pauses while the sender probes the closed window. Then the reader continues until all data has arrived."""
    server = t.listen()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client = t.sock(t.a)
    client.connect((t.address[t.b], t.port))
    peer = t.accept(server)
    client.setblocking(False)
    sent = 0
    try:
        while sent < 1_000_000:
            sent += client.send(bytes(7000))
    except BlockingIOError:
        pass
    rest(0.3)
    t.lose_tcp()
    rest(0.7)
    t.take(peer, sent)
    client.setblocking(True)
    end(client, peer)


@pattern
def slow_reader(t):
    """The reader takes 1 MB per second in small parts, so its window is closed for most of the time."""
    server = t.listen()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client = t.sock(t.a)
    client.connect((t.address[t.b], t.port))
    peer = t.accept(server)
    size, part, period = 1_000_000, 4_000, 0.004
    rest()
    t.lose_tcp()
    sender = threading.Thread(target=client.sendall, args=(bytes(size),))
    sender.start()
    for _ in range(size // part):
        t.take(peer, part)
        rest(period)
    sender.join()
    end(client, peer)


@pattern
def defer_accept(t):
    server = t.listen()
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    for number in range(5):
        client = t.sock(t.a)
        client.connect((t.address[t.b], t.port))
        rest(0.02)
        if number == 3:
            t.lose_tcp(PSH)
        client.sendall(b"request")
        peer = t.accept(server)
        t.take(peer, 7)
        peer.sendall(b"answer")
        t.take(client, 6)
        client.close()
        peer.close()
    rest()


@pattern
def fast_open(t):
    for ns in (t.a, t.b):
        t.sysctl(ns, "ipv4/tcp_fastopen", 3)
    server = t.listen()
    server.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
    for number in range(3):
        if number == 2:
            t.lose_tcp(FIN)
        client = t.sock(t.a)
        client.sendto(b"request", MSG_FASTOPEN, (t.address[t.b], t.port))
        peer = t.accept(server)
        t.take(peer, 7)
        peer.sendall(b"answer")
        t.take(client, 6)
        client.close()
        peer.close()
    rest()
    t.repair()


@pattern
def syn_cookies(t):
    t.sysctl(t.b, "ipv4/tcp_syncookies", 2)
    server = t.listen()
    for number in range(3):
        client = t.sock(t.a)
        client.connect((t.address[t.b], t.port))
        peer = t.accept(server)
        if number == 1:
            t.lose_tcp(PSH)
        t.exchange(client, peer)
        client.close()
        peer.close()
    rest()


def multipath(t, server_protocol):
    for ns in (t.a, t.b):
        t.sysctl(ns, "mptcp/enabled", 1)
    server, client, peer = t.connected(MPTCP, server_protocol)
    t.lose_tcp(PSH)
    t.exchange(client, peer, 20_000)
    end(client, peer)
    client = t.sock(t.a, protocol=MPTCP)
    client.connect((t.address[t.b], t.port))
    peer = t.accept(server)
    t.exchange(client, peer)
    end(peer, client)
    rest(0.1)


@pattern
def mptcp(t):
    multipath(t, MPTCP)


@pattern
def mptcp_to_plain(t):
    multipath(t, 0)


@pattern
def ack_to_listener(t):
    """Sends an ACK for a connection that no longer exists at the server."""
    t.listen()
    for wrong in (0, 0x5555) if t.twin else (0,):
        t.inject(t.a, t.segment(t.address[t.a], t.address[t.b], (40_000, t.port), 1, 1, ACK, wrong=wrong))
    rest()


@pattern
def fin_to_closed_port(t):
    """Sends the last segment of a connection that no longer exists at either end."""
    for wrong in (0, 0x5555) if t.twin else (0,):
        t.inject(t.a, t.segment(t.address[t.a], t.address[t.b], (40_000, t.port), 1, 1, FIN | ACK, wrong=wrong))
    rest()


@pattern
def reset_to_closed_port(t):
    """Sends a reset to a closed port, which gets no response."""
    t.inject(t.a, t.segment(t.address[t.a], t.address[t.b], (40_000, t.port), 1, 1, RST))
    if t.twin:
        t.inject(t.a, t.segment(t.address[t.a], t.address[t.b], (40_000, t.port), 1, 0, SYN))
    rest()


def replayed(t, wanted):
    """Sends a captured frame of the connection again."""
    t.whole_checksums()
    sniffer = t.sniff(t.b)
    _, client, peer = t.connected()
    t.exchange(client, peer)
    t.exchange(client, peer)
    rest()
    frame, seq, ack, flags, ports, size = next(one for one in t.segments(sniffer) if wanted(one[3], one[5]))
    sniffer.close()
    t.frame(t.a, frame)
    rest()
    if t.twin:
        t.inject(t.a, t.segment(t.address[t.a], t.address[t.b], ports, seq, ack, flags, b"x" * size, wrong=0x5555))
        rest()
    t.exchange(client, peer)
    end(client, peer)


@pattern
def data_twice(t):
    replayed(t, lambda flags, size: size > 0)


@pattern
def ack_twice(t):
    replayed(t, lambda flags, size: flags == ACK and size == 0)


@pattern
def syn_twice(t):
    replayed(t, lambda flags, size: flags & SYN)


def bulk(t):
    _, client, peer = t.connected()
    t.lose_tcp(PSH)
    t.pump(client, peer, 4_000_000)
    t.pump(peer, client, 4_000_000)
    end(client, peer)


@pattern
def segments_by_device(t):
    """Sends large segments that the device would have to split."""
    bulk(t)


@pattern
def segments_by_kernel(t):
    """The kernel splits large segments, and the receiver merges them."""
    for ns in (t.a, t.b):
        for command, on in ((ETHTOOL_STSO, 0), (ETHTOOL_SGSO, 0), (ETHTOOL_SGRO, 1)):
            t.offload(ns, t.device[ns], command, on)
            t.callback(t.offload, ns, t.device[ns], command, 1 - on)
    bulk(t)


@pattern
def urgent_data(t):
    _, client, peer = t.connected()
    t.lose_tcp(PSH)
    client.sendall(b"before")
    client.send(b"!", socket.MSG_OOB)
    client.sendall(b"after")
    rest()
    t.repair()
    t.take(peer, 11)
    end(client, peer)


@pattern
def simultaneous_open(t):
    """Both ends connect to each other, and neither listens."""
    ends = []
    for ns in (t.a, t.b):
        t.tc(ns, f"qdisc add dev {t.device[ns]} root tbf rate 1mbit burst 1600 limit 100000")
        t.callback(t.tc, ns, f"qdisc del dev {t.device[ns]} root")
        sink = t.udp(ns, t.port)
        ends.append(sink)
    for (ns, other), sink in zip(((t.a, t.b), (t.b, t.a)), ends):
        for _ in range(2):
            sink.sendto(bytes(1400), (t.address[other], t.port))
    pair = []
    for ns, other in ((t.a, t.b), (t.b, t.a)):
        s = t.sock(ns)
        s.bind((t.address[ns], t.port))
        s.setblocking(False)
        assert s.connect_ex((t.address[other], t.port)) == 115
        pair.append(s)
    rest(0.1)
    t.lose_tcp(PSH)
    t.exchange(*pair)
    end(*pair)
