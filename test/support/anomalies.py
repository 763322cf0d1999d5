"""Causes anomalies between two network namespaces until it is killed: lost packets, refused and reset connections, a full accept
queue, connection attempts without a response, and failed requests of HTTP, gRPC and DNS. Arguments: the two namespaces, and
the address of the second one."""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import time

A, B, ADDRESS = sys.argv[1:]
NOBODY, DROPPED, FULL, ECHO, WEB, DNS = 7001, 7002, 7003, 7004, 7005, 53
QUERY = struct.pack(">6H", 1, 0x100, 1, 0, 0, 0) + b"\x04gone\x04test\x00" + struct.pack(">2H", 1, 1)
ROUND_SECONDS = 0.2
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def enter(name):
    with open(f"/run/netns/{name}") as netns:
        assert libc.setns(netns.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def tcp(blocking=True):
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setblocking(blocking)
    return one


def listen(port, backlog):
    listener = tcp()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((ADDRESS, port))
    listener.listen(backlog)
    return listener


def refused(address, count):
    for _ in range(count):
        with tcp() as one:
            one.connect_ex((address, NOBODY))


def datagrams(address, port, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for _ in range(count):
            try:
                one.sendto(b"x" * 50, (address, port))
            except ConnectionRefusedError:
                pass


def exchange():
    """Opens a connection that carries data and is then reset by the peer."""
    with tcp() as client:
        client.connect((ADDRESS, ECHO))
        server, _ = echo.accept()
        client.sendall(b"x" * 1000)
        server.recv(2000)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()


def request():
    """Sends an HTTP request that the server cannot fulfil."""
    with tcp() as client:
        client.connect((ADDRESS, WEB))
        server, _ = web.accept()
        client.sendall(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")
        server.recv(1000)
        server.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
        client.recv(1000)
        server.close()


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def headers(flags, *fields):
    """Returns a HEADERS frame of the first stream, with literal fields without indexing (RFC 7541, 6.2.2)."""
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
    return frame(1, flags | 4, 1, block)


def call():
    """Makes a gRPC call that fails in the server."""
    grpc = b"content-type", b"application/grpc"
    with tcp() as client:
        client.connect((ADDRESS, WEB))
        server, _ = web.accept()
        fields = (b":method", b"POST"), (b":path", b"/shop.Cart/Add"), grpc
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        client.sendall(headers(0, *fields) + frame(0, 1, 1, bytes(5)))
        server.recv(1000)
        server.sendall(frame(4, 0, 0, b"") + headers(0, (b":status", b"200"), grpc))
        server.sendall(headers(1, (b"grpc-status", b"13")))
        client.recv(1000)
        server.close()


def hello():
    """Opens a connection whose first data is a ClientHello of TLS."""
    with tcp() as client:
        client.connect((ADDRESS, ECHO))
        server, _ = echo.accept()
        client.sendall(b"\x16\x03\x01\x00\x40\x01" + bytes(63))
        server.recv(1000)
        server.close()


def lookup():
    """Sends a query for a name that does not exist, one that the server refuses with a truncated answer, one that is not
    answered, and a message that is not a query."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number, flags in enumerate((b"\x81\x83", b"\x83\x85", None)):
            client.sendto(struct.pack(">H", number) + QUERY[2:], (ADDRESS, DNS))
            query, sender = names.recvfrom(1000)
            if flags:
                names.sendto(query[:2] + flags + query[4:], sender)
                client.recv(1000)
        client.sendto(b"x" * 50, (ADDRESS, DNS))
        names.recv(1000)


# This process causes anomalies in the node's own namespace, over its loopback device.
node = os.fork()
if node == 0:
    while True:
        refused("127.0.0.1", 5)
        datagrams("127.0.0.1", NOBODY, 5)
        time.sleep(ROUND_SECONDS)

enter(B)
for rule in [
    "add table inet t",
    "add chain inet t in { type filter hook input priority 0; }",
    "add rule inet t in ct state new counter",
    f"add rule inet t in udp dport {DROPPED} drop",
    f"add rule inet t in tcp dport {DROPPED} drop",
]:
    subprocess.run(["nft", rule], check=True)
full, echo, web = listen(FULL, 1), listen(ECHO, 10), listen(WEB, 10)
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind((ADDRESS, DNS))
enter(A)
held = tcp()
held.connect((ADDRESS, ECHO))
peer, _ = echo.accept()
waiting = []
print("ready", flush=True)
while True:
    refused(ADDRESS, 60)
    datagrams(ADDRESS, DROPPED, 100)
    exchange()
    request()
    call()
    hello()
    lookup()
    # These SYNs receive no response, so they are retransmitted after a second.
    for port in FULL, FULL, DROPPED:
        one = tcp(blocking=False)
        one.connect_ex((ADDRESS, port))
        waiting.append(one)
    while len(waiting) > 60:
        waiting.pop(0).close()
    time.sleep(ROUND_SECONDS)
