"""python3 pods.py CGROUP PODS PROCESSES DESCRIPTORS

Creates Pods without a cluster: namespaces with processes in cgroups. Prints a line when all exist, and runs until its process group is killed."""

import ctypes
import os
import resource
import socket
import sys
import uuid

CLONE_NEWNET = 0x40000000
CONTAINERS = 2

cgroup, pods, processes, descriptors = sys.argv[1], *map(int, sys.argv[2:])


def sleep():
    os.execvp("sleep", ["sleep", "3600"])


def pod(ready):
    """Opens descriptors, half of which are sockets. Each process of the Pod inherits them in its own descriptor table."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        sys.exit("unshare failed")
    folders = [f"{cgroup}/kubepods/pod{uuid.uuid4()}/{os.urandom(32).hex()}"]
    folders += [f"{os.path.dirname(folders[0])}/{os.urandom(32).hex()}" for _ in range(CONTAINERS - 1)]
    for folder in folders:
        os.makedirs(folder)
    own = 4  # stdin, stdout, stderr and the pipe are already open
    kept = [socket.socket() for _ in range(descriptors // 2)]
    kept += [open("/dev/null") for _ in range(descriptors - len(kept) - own)]
    for one in kept:
        os.set_inheritable(one.fileno(), True)
    os.set_inheritable(ready, True)
    for index in range(processes):
        if index == processes - 1 or os.fork() == 0:
            with open(f"{folders[index % CONTAINERS]}/cgroup.procs", "w") as procs:
                procs.write(str(os.getpid()))
            os.write(ready, b"x")
            sleep()


told, ready = os.pipe()
for _ in range(pods):
    if os.fork() == 0:
        os.close(told)
        pod(ready)
for _ in range(pods * processes):
    os.read(told, 1)
print("ready", flush=True)
sleep()
