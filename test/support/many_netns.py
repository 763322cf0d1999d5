"""many_netns.py PREFIX COUNT

Creates named network namespaces, and sends loopback traffic in each of them, once at the start and once for each line on stdin. Removes the
namespaces when stdin closes."""

import ctypes
import fcntl
import os
import socket
import struct
import sys
import time

import netns_folder

CLONE_NEWNET, MS_BIND, MNT_DETACH = 0x40000000, 4096, 2
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
libc = ctypes.CDLL(None, use_errno=True)

# The kernel destroys the namespaces that were removed meanwhile at once. Each agent of this machine has space for the
# last counters of about a hundred at a time, and those of other tests need it, too.
REMOVED_AT_ONCE, REMOVED_EVERY_S = 30, 0.2


def checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def make(path: str) -> None:
    checked(libc.unshare(CLONE_NEWNET))
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o444))
    checked(libc.mount(b'/proc/self/ns/net', path.encode(), None, MS_BIND, None))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sH14x', b'lo', IFF_UP_RUNNING))


def use() -> None:
    """Sends some datagrams to a socket and one to a closed port, and opens a connection that transfers some bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as writer:
        reader.bind(('127.0.0.1', 0))
        for _ in range(5):
            writer.sendto(b'x', reader.getsockname())
            reader.recv(1)
        writer.sendto(b'x', ('127.0.0.1', 9))
    with socket.create_server(('127.0.0.1', 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b'x' * 100)
            accepted.recv(100)


paths = [f'/run/netns/{sys.argv[1]}{number}' for number in range(int(sys.argv[2]))]
netns_folder.prepare()
made = []
try:
    for path in paths:
        made.append(path)
        make(path)
        use()
    print('ready', flush=True)
    for _ in sys.stdin:
        for path in paths:
            handle = os.open(path, os.O_RDONLY)
            checked(libc.setns(handle, CLONE_NEWNET))
            os.close(handle)
            use()
        print('used', flush=True)
finally:
    for number, path in enumerate(made, 1):
        if number % REMOVED_AT_ONCE == 0:
            time.sleep(REMOVED_EVERY_S)
        libc.umount2(path.encode(), MNT_DETACH)
        if os.path.exists(path):
            os.unlink(path)
