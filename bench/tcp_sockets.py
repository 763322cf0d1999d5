"""Opens TCP sockets in network namespaces for the bench: reads one request per line from stdin as JSON, and responds with a JSON line."""

import ctypes
import json
import resource
import socket
import sys

CLONE_NEWNET = 0x40000000
PORTS_OF_AN_ADDRESS = 2_000

libc = ctypes.CDLL(None, use_errno=True)
kept = []

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def connect(listener):
    one = socket.socket()
    one.connect(listener.getsockname())
    return one, listener.accept()[0]


def listen(address):
    listener = socket.socket()
    listener.bind((address, 0))
    listener.listen(16)
    kept.append(listener)
    return listener


def make(netns, connections, time_wait):
    with open(netns) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), netns)
    listener = listen("127.0.0.1")
    for _ in range(connections):
        kept.extend(connect(listener))
    for nth in range(time_wait):
        if nth % PORTS_OF_AN_ADDRESS == 0:
            listener = listen(f"127.0.0.{2 + nth // PORTS_OF_AN_ADDRESS}")
        # Closes one end first, because that end then enters TIME_WAIT.
        for one in connect(listener):
            one.close()


for line in sys.stdin:
    make(**json.loads(line))
    print("{}", flush=True)
