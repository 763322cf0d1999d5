"""Runs Pods that live for a few milliseconds. Arguments: pairs of the path of a container's cgroup.procs and a number
n.

Each Pod is a process that joins the cgroup and creates a network namespace. Over IPv4 and IPv6, it sends n datagrams to
a closed port and opens n + 1 connections that are refused. It then executes a program that prints the kernel's
counters. Prints a JSON list of these outputs.
"""
import ctypes, fcntl, json, os, socket, struct, sys

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
libc = ctypes.CDLL(None, use_errno=True)


def up(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack('16sh14x', name, 0)
        flags = struct.unpack('16sh14x', fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack('16sh14x', name, flags | IFF_UP))


def live(procs, n):
    with open(procs, 'w') as file:
        file.write(str(os.getpid()))
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), 'unshare')
    up(b'lo')
    for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for _ in range(n):
                sender.sendto(b'x' * n, (address, 9))
        for _ in range(n + 1):
            with socket.socket(family, socket.SOCK_STREAM) as client:
                client.connect_ex((address, 9))
    os.execv('/bin/cat', ['cat', '/proc/self/net/snmp', '/proc/self/net/netstat', '/proc/self/net/snmp6'])


texts = []
for procs, n in zip(sys.argv[1::2], sys.argv[2::2]):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        os.close(reader)
        os.close(writer)
        live(procs, int(n))
    os.close(writer)
    with os.fdopen(reader) as file:
        texts.append(file.read())
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f'the Pod of {procs} failed')
print(json.dumps(texts))
