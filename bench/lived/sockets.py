"""Opens twenty sockets with light traffic in each of many namespaces. `sockets.py COUNT` creates the namespaces; `sockets.py pids PID...` enters the
namespaces and cgroups of existing processes. Prints a line when all sockets are open, and runs until its process group is killed."""

import ctypes
import fcntl
import os
import socket
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
CGROUPS = '/sys/fs/cgroup'
PERIOD_S = 1
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


def talk(ready: int) -> None:
    """Opens four listening sockets, four UDP sockets, and both ends of six connections; one connection carries data every second."""
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


places = sys.argv[2:] if sys.argv[1] == 'pids' else [None] * int(sys.argv[1])
told, ready = os.pipe()
for place in places:
    if os.fork() == 0:
        enter(place) if place else make()
        talk(ready)
os.close(ready)
for _ in places:
    if os.read(told, 1) == b'':
        sys.exit('not all connections talk')
print('ready', flush=True)
os.wait()
