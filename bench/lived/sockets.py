"""Opens twenty sockets with light traffic in each of many namespaces. `sockets.py COUNT` creates the namespaces; `sockets.py pids PID...` enters the
namespaces and cgroups of existing processes. `--edges COUNT` adds connections to that many servers in each namespace, `--hubs PLACES COUNT` to more
servers in the first ones. Prints a line when all sockets are open, and runs until its process group is killed."""

import argparse
import ctypes
import fcntl
import os
import resource
import socket
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
CGROUPS = '/sys/fs/cgroup'
PERIOD_S = 1
LOOPBACK = '127.0.0.1'
# This network must match the one in bench/lived/bed.ts.
SERVERS = '10.96.0.0/16'
SERVER_PORT = 8080
libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def make() -> None:
    checked(libc.unshare(CLONE_NEWNET))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sH14x', b'lo', IFF_UP_RUNNING))


def enter(pid: str) -> None:
    with open(f'/proc/{pid}/cgroup') as groups:
        for line in groups.read().splitlines():
            _, controllers, path = line.split(':', 2)
            mounted = controllers.removeprefix('name=') or 'unified'
            hierarchy = f'{CGROUPS}/{mounted}' if os.path.isdir(f'{CGROUPS}/{mounted}') else CGROUPS
            if path != '/':
                with open(f'{hierarchy}{path}/cgroup.procs', 'w') as procs:
                    procs.write(str(os.getpid()))
    with open(f'/proc/{pid}/ns/net') as namespace:
        checked(libc.setns(namespace.fileno(), CLONE_NEWNET))


def connect(count: int) -> list[tuple[socket.socket, socket.socket]]:
    """Opens connections to this number of addresses, all of which belong to this namespace."""
    if count == 0:
        return []
    subprocess.run(['ip', 'route', 'add', 'local', SERVERS, 'dev', 'lo'], check=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * count + 100, 4 * count + 100))
    server = socket.create_server(('0.0.0.0', SERVER_PORT), backlog=count)
    edges = []
    for number in range(1, count + 1):
        address = (f'10.96.{number // 256}.{number % 256}', SERVER_PORT)
        edges.append((socket.create_connection(address, source_address=(LOOPBACK, 0)), server.accept()[0]))
    server.close()
    return edges


def talk(ready: int, count: int) -> None:
    """Opens four listening sockets, four UDP sockets, both ends of six connections, and `count` edges. Every second, one connection and one edge carry data."""
    edges = connect(count)
    turn = 0
    listening = [socket.create_server(('127.0.0.1', 0)) for _ in range(4)]
    datagrams = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    datagrams[0].bind(('127.0.0.1', 0))
    pairs = []
    for number in range(6):
        server = listening[number % len(listening)]
        pairs.append((socket.create_connection(server.getsockname()), server.accept()[0]))
    os.write(ready, b'x')
    while True:
        for client, server in pairs:
            time.sleep(PERIOD_S)
            client.sendall(b'x' * 200)
            server.sendall(server.recv(200) * 5)
            client.recv(1000)
            datagrams[1].sendto(b'x', datagrams[0].getsockname())
            datagrams[0].recv(1)
            if edges:
                client, server = edges[turn % len(edges)]
                turn += 1
                client.sendall(b'x' * 100)
                server.recv(100)


parser = argparse.ArgumentParser()
parser.add_argument('--edges', type=int, default=0)
parser.add_argument('--hubs', type=int, nargs=2, default=[0, 0])
parser.add_argument('places', nargs='+')
given = parser.parse_args()
places = given.places[1:] if given.places[0] == 'pids' else [None] * int(given.places[0])
hubs, hub_edges = given.hubs
told, ready = os.pipe()
for number, place in enumerate(places):
    if os.fork() == 0:
        enter(place) if place else make()
        talk(ready, hub_edges if number < hubs else given.edges)
os.close(ready)
for _ in places:
    if os.read(told, 1) == b'':
        sys.exit('not all connections talk')
print('ready', flush=True)
os.wait()
