"""Causes anomalies between two network namespaces until it is killed: lost packets, refused and reset connections, a full accept
queue, and connection attempts without a response. Arguments: the two namespaces, and the address of the second one."""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import time

A, B, ADDRESS = sys.argv[1:]
NOBODY, DROPPED, FULL, ECHO = 7001, 7002, 7003, 7004
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
full, echo = listen(FULL, 1), listen(ECHO, 10)
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
    # These SYNs receive no response, so they are retransmitted after a second.
    for port in FULL, FULL, DROPPED:
        one = tcp(blocking=False)
        one.connect_ex((ADDRESS, port))
        waiting.append(one)
    while len(waiting) > 60:
        waiting.pop(0).close()
    time.sleep(ROUND_SECONDS)
