"""
Opens CONNECTIONS connections from NETNS_A to NETNS_B, sends a request of HTTP/1.1 on each, and answers it. Prints
`ready`, and keeps the connections until the standard input ends. Arguments:

    NETNS_A NETNS_B ADDRESS_B PORT CONNECTIONS

Each process has as many connections as its limit of descriptors allows, and a port of its own.
"""

import ctypes
import multiprocessing
import os
import resource
import socket
import sys

CLONE_NEWNET = 0x40000000
REQUEST = b"GET /kept HTTP/1.1\r\nHost: b\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SPARE = 100  # descriptors
PORTS = 28_000  # connections that may have the same address and port of the server

libc = ctypes.CDLL(None, use_errno=True)


def enter(netns):
    with open(f"/run/netns/{netns}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), netns)


def run(netns_a, netns_b, address, count, opened, end):
    enter(netns_b)
    listener = socket.create_server(address, backlog=16)
    enter(netns_a)
    kept = []
    for _ in range(count):
        client = socket.create_connection(address)
        server, _ = listener.accept()
        client.sendall(REQUEST)
        assert server.recv(100) == REQUEST
        server.sendall(RESPONSE)
        assert client.recv(100) == RESPONSE
        kept += (client, server)
    opened.release()
    end.wait()
    os._exit(0)


def main(netns_a, netns_b, host, port, connections):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    each = min(PORTS, (limit - SPARE) // 2)
    opened, end = multiprocessing.Semaphore(0), multiprocessing.Event()
    processes = []
    for first in range(0, connections, each):
        address = (host, port + len(processes))
        args = (netns_a, netns_b, address, min(each, connections - first), opened, end)
        processes.append(multiprocessing.Process(target=run, args=args))
        processes[-1].start()
    for _ in processes:
        opened.acquire()
    print("ready", flush=True)
    sys.stdin.read()
    end.set()
    for process in processes:
        process.join()


main(*sys.argv[1:4], *map(int, sys.argv[4:]))
