"""Opens TCP sockets in its network namespace on request of a test. Reads one request per line from stdin as JSON, and responds with a
JSON line. Each socket has a name. Sockets that are opened together are called name/0, name/1, and so on."""

import json
import resource
import socket
import struct
import sys
import time

sockets = {}

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def make(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM)


def keep(name, made):
    sockets.update({name: made[0]} if len(made) == 1 else {f"{name}/{n}": one for n, one in enumerate(made)})


def listen(name, address, port, backlog=128, fastopen=0):
    listener = make(address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if ":" in address:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
    if fastopen:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, fastopen)
    listener.bind((address, port))
    listener.listen(backlog)
    sockets[name] = listener


def listen_on_many(address, count):
    for nth in range(count):
        listen(f"many/{nth}", address, 0)


def connect(name, address, port, count=1, wait=True):
    made = [make(address) for _ in range(count)]
    for one in made:
        one.setblocking(wait)
        one.connect_ex((address, port))
    keep(name, made)


def connect_fast(name, address, port, bytes):
    one = make(address)
    one.setblocking(False)
    try:
        one.sendto(b"x" * bytes, socket.MSG_FASTOPEN, (address, port))
    except BlockingIOError:
        pass
    sockets[name] = one


def accept(name, listener, count=1):
    keep(name, [sockets[listener].accept()[0] for _ in range(count)])


def pairs(name, address, port, count):
    """Opens connections to a listener in this process, and keeps both ends open."""
    for nth in range(count):
        connect(f"{name}/{nth}/a", address, port)
        accept(f"{name}/{nth}/b", name)


def send(name, bytes):
    sockets[name].sendall(b"x" * bytes)


def fill(name):
    """Sends until the buffers are full."""
    sockets[name].setblocking(False)
    try:
        while True:
            sockets[name].send(b"x" * 65536)
    except BlockingIOError:
        pass


def shutdown(name):
    sockets[name].shutdown(socket.SHUT_WR)


def close(name):
    sockets.pop(name).close()


def churn(address, port, seconds):
    """Opens and closes connections one after the other. Half of them enter TIME_WAIT."""
    listener = make(address)
    listener.bind((address, port))
    listener.listen(16)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        one = make(address)
        one.connect((address, port))
        other = listener.accept()[0]
        if count % 2:
            # With this option, close() sends a reset.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
        other.close()
        count += 1
    listener.close()
    return count


for line in sys.stdin:
    command = json.loads(line)
    identity, call = command["id"], command["call"]
    try:
        answer = {"id": identity, "result": globals()[call](**command["args"])}
    except Exception as error:
        answer = {"id": identity, "error": f"{call}: {error}"}
    print(json.dumps(answer), flush=True)
