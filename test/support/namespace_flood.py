"""namespace_flood.py COUNT [nested]

Creates network namespaces that have neither processes nor names, and keeps them alive by descriptors only. With
`nested`, they belong to a new user namespace. Prints the cookie and the inode number of each namespace. For each line
on stdin, loses two packets in each namespace and prints a line. Exits when stdin is closed.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
UNUSED_PROTOCOL, SO_NETNS_COOKIE = 253, 71
libc = ctypes.CDLL(None, use_errno=True)


def unshare(what: int) -> None:
    if libc.unshare(what) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def lose() -> None:
    """Sends a datagram to a closed port, and a packet of an unknown protocol."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sH14x', b'lo', IFF_UP_RUNNING))
        control.sendto(b'x', ('127.0.0.1', 9))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, UNUSED_PROTOCOL) as raw:
        raw.sendto(b'x', ('127.0.0.1', 0))


def cookie() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return struct.unpack('Q', any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]


made = []
told = []
if 'nested' in sys.argv:
    unshare(CLONE_NEWUSER)
for _ in range(int(sys.argv[1])):
    unshare(CLONE_NEWNET)
    made.append(os.open('/proc/self/ns/net', os.O_RDONLY))
    told.append([cookie(), os.fstat(made[-1]).st_ino])
print(json.dumps(told), flush=True)
for _ in sys.stdin:
    for descriptor in made:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        lose()
    print('lost', flush=True)
