"""dying_netns.py PREFIX COUNT LOSES_EVERY LIFE_S RATE

Creates COUNT named network namespaces, RATE per second, and removes each after LIFE_S seconds. The first namespace and
every LOSES_EVERY-th namespace after it lose ten datagrams. Prints a line when all of them have been removed.
"""

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
LOST = 10
libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def make(path: str, loses: bool) -> None:
    checked(libc.unshare(CLONE_NEWNET))
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o444))
    checked(libc.mount(b'/proc/self/ns/net', path.encode(), None, MS_BIND, None))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        fcntl.ioctl(sender, SIOCSIFFLAGS, struct.pack('16sH14x', b'lo', IFF_UP_RUNNING))
        for _ in range(LOST if loses else 0):
            sender.sendto(b'x', ('127.0.0.1', 9))


def remove(path: str) -> None:
    libc.umount2(path.encode(), MNT_DETACH)
    os.unlink(path)


prefix, count, loses_every, life, rate = sys.argv[1], *map(int, sys.argv[2:4]), *map(float, sys.argv[4:])
home = os.open('/proc/self/ns/net', os.O_RDONLY)
netns_folder.prepare()
alive: list[tuple[float, str]] = []
begun = time.monotonic()
try:
    for number in range(count):
        time.sleep(max(0, begun + number / rate - time.monotonic()))
        while alive and alive[0][0] < time.monotonic():
            remove(alive.pop(0)[1])
        path = f'/run/netns/{prefix}{number}'
        alive.append((time.monotonic() + life, path))
        make(path, number % loses_every == 0)
        # The process returns to its own namespace, because a process keeps its current namespace alive.
        checked(libc.setns(home, CLONE_NEWNET))
    while alive:
        time.sleep(max(0, alive[0][0] - time.monotonic()))
        remove(alive.pop(0)[1])
finally:
    for _, path in alive:
        if os.path.exists(path):
            remove(path)
print('gone', flush=True)
