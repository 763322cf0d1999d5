"""Ways in which connections are closed."""

import socket
import ssl
import struct
import subprocess
import tempfile
import threading

from stage import ACK, FIN, PSH, RST, pattern, rest


def ends(one, *others):
    """Checks that each of these sockets reads the end of the stream."""
    for other in others:
        assert other.recv(65536) == b""


@pattern
def close_client_first(t):
    _, client, peer = t.connected()
    t.exchange(client, peer)
    t.lose_tcp(FIN, t.a)
    client.close()
    rest(0.06)
    ends(client, peer)
    peer.close()
    rest()
    t.repair()


@pattern
def close_server_first(t):
    _, client, peer = t.connected()
    t.exchange(client, peer)
    t.lose_tcp(FIN)
    peer.close()
    rest(0.06)
    ends(peer, client)
    client.close()
    rest()
    t.repair()


@pattern
def close_at_once(t):
    _, client, peer = t.connected()
    t.exchange(client, peer)
    sinks = {ns: t.udp(ns, t.port) for ns in (t.a, t.b)}
    for ns in sinks:
        t.tc(ns, f"qdisc add dev {t.device[ns]} root tbf rate 1mbit burst 1600 limit 100000")
        t.callback(t.tc, ns, f"qdisc del dev {t.device[ns]} root")
    t.lose_tcp(FIN)
    # A queue delays the data and the FINs behind it, so both ends send their FINs at the same time.
    for ns, other in ((t.a, t.b), (t.b, t.a)):
        for _ in range(2):
            sinks[ns].sendto(bytes(1400), (t.address[other], t.port))
    client.close()
    peer.close()
    rest(0.12)
    t.repair()


@pattern
def close_after_one_shot(t):
    """The kernel delays the ACK of a FIN, so the client sends a loss probe."""
    _, client, peer = t.connected()
    t.exchange(client, peer)
    t.lose_tcp(FIN)
    client.sendall(b"last words")
    client.close()
    rest(0.02)
    t.repair()
    t.take(peer, 10)
    ends(client, peer)
    peer.close()
    rest(0.05)


@pattern
def close_half(t):
    _, client, peer = t.connected()
    client.sendall(b"request")
    client.shutdown(socket.SHUT_WR)
    t.take(peer, 7)
    ends(client, peer)
    t.lose_tcp(PSH, t.a)
    t.pump(peer, client, 13_000_000)
    peer.close()
    rest()
    ends(peer, client)
    client.close()
    rest()


@pattern
def close_before_read(t):
    """The other end reads the remaining data after the connection is closed."""
    _, client, peer = t.connected()
    t.lose_tcp(PSH)
    client.sendall(bytes(20_000))
    client.close()
    rest(0.05)
    t.repair()
    t.take(peer, 20_000)
    ends(client, peer)
    peer.close()
    rest()


@pattern
def close_before_accept(t):
    server = t.listen()
    client = t.sock(t.a)
    client.connect((t.address[t.b], t.port))
    t.lose_tcp(FIN)
    client.sendall(b"hello")
    client.close()
    rest()
    t.repair()
    peer = t.accept(server)
    t.take(peer, 5)
    ends(client, peer)
    peer.close()
    rest()


@pattern
def close_many(t):
    """Opens twenty connections with one request each. The client and the server take turns in closing first."""
    server = t.listen()
    for number in range(20):
        client = t.sock(t.a)
        client.connect((t.address[t.b], t.port))
        peer = t.accept(server)
        t.exchange(client, peer, 300)
        if number == 10:
            t.lose_tcp(FIN)
        first, second = (client, peer) if number % 2 == 0 else (peer, client)
        first.close()
        second.close()
    rest(0.06)
    t.repair()


@pattern
def close_on_loopback(t):
    address = "::1" if t.v6 else "127.0.0.1"
    _, client, peer = t.connected(address=address, ns=t.a)
    t.exchange(client, peer)
    t.lose(f"tcp sport {t.port} tcp flags & fin == fin", t.a)
    client.close()
    rest(0.06)
    ends(client, peer)
    peer.close()
    rest()
    t.repair()


def tls_connection(t):
    """Returns both ends of a TLS connection."""
    folder = t.enter_context(tempfile.TemporaryDirectory())
    key, certificate = f"{folder}/key", f"{folder}/certificate"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=orderly"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    _, client, peer = t.connected()
    answer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    answer.load_cert_chain(certificate, key)
    ask = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ask.check_hostname = False
    ask.verify_mode = ssl.CERT_NONE
    ends = []
    thread = threading.Thread(target=lambda: ends.append(answer.wrap_socket(peer, server_side=True)))
    thread.start()
    client = ask.wrap_socket(client)
    thread.join()
    return t.enter_context(client), t.enter_context(ends[0])


@pattern
def close_tls_by_both(t):
    client, peer = tls_connection(t)
    t.exchange(client, peer)
    thread = threading.Thread(target=lambda: peer.unwrap())
    t.lose_tcp(PSH)
    thread.start()
    client.unwrap()
    thread.join()
    client.close()
    peer.close()
    rest()
    t.repair()


@pattern
def close_tls_by_client(t):
    """The server sends its close_notify after the client has closed. The client's kernel responds with a reset."""
    client, peer = tls_connection(t)
    t.exchange(client, peer)
    t.lose_tcp(FIN)
    client.close()
    t.repair()
    assert peer.recv(1) == b""
    try:
        peer.unwrap()
    except (OSError, ssl.SSLError):
        pass
    peer.close()
    rest()


@pattern
def close_by_reset(t):
    """The client closes with a reset after all data has arrived."""
    _, client, peer = t.connected()
    t.exchange(client, peer)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if t.twin:
        t.inject(t.a, t.segment(t.address[t.a], t.address[t.b], (client.getsockname()[1], t.port), 1, 1, RST, wrong=0x5555))
    client.close()
    rest()
    peer.close()
    rest()


@pattern
def write_after_close(t):
    """The server continues to write after the client has closed. The client's kernel responds with a reset."""
    _, client, peer = t.connected()
    t.exchange(client, peer)
    t.lose_tcp(FIN)
    client.close()
    rest()
    t.repair()
    peer.sendall(b"too late")
    rest()
    peer.close()
    rest()


@pattern
def write_after_shutdown(t):
    """The peer has shut down its sending side, and still receives data."""
    _, client, peer = t.connected()
    t.exchange(client, peer)
    peer.shutdown(socket.SHUT_WR)
    t.lose_tcp(PSH)
    for _ in range(10):
        client.sendall(b"x" * 100)
        rest(0.002)
    t.take(peer, 1000)
    client.close()
    rest()
    peer.close()
    rest()


@pattern
def time_wait_reuse(t):
    """Opens a connection with the ports of one that the server still has in TIME_WAIT."""
    server, client, peer = t.connected()
    t.exchange(client, peer)
    port = client.getsockname()[1]
    peer.close()
    rest()
    client.close()
    rest()
    again = t.sock(t.a)
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    again.bind((t.address[t.a], port))
    t.lose_tcp(ACK)
    again.connect((t.address[t.b], t.port))
    peer = t.accept(server)
    t.exchange(again, peer)
    again.close()
    peer.close()
    rest()


@pattern
def time_wait_reset(t):
    """Sends a reset to a connection in TIME_WAIT."""
    sniffer = t.sniff(t.a)
    _, client, peer = t.connected()
    t.exchange(client, peer)
    client.close()
    rest()
    peer.close()
    rest()
    _, seq, _, _, (_, port), _ = [one for one in t.segments(sniffer) if one[3] & FIN][-1]
    sniffer.close()
    wrong = (0, 0x5555) if t.twin else (0,)
    for each in reversed(wrong):
        t.inject(t.b, t.segment(t.address[t.b], t.address[t.a], (t.port, port), seq + 1, 0, RST, wrong=each))
    rest()


@pattern
def time_wait_fin_again(t):
    """Sends the last FIN again, as after a delayed ACK."""
    t.whole_checksums()
    sniffer = t.sniff(t.a)
    _, client, peer = t.connected()
    t.exchange(client, peer)
    client.close()
    rest()
    peer.close()
    rest()
    fin = [one for one in t.segments(sniffer) if one[3] & FIN][-1]
    sniffer.close()
    t.frame(t.b, fin[0])
    if t.twin:
        t.inject(t.b, t.segment(t.address[t.b], t.address[t.a], fin[4], fin[1], fin[2], FIN | ACK, wrong=0x5555))
    rest()
