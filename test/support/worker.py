"""A process that runs a test's commands from a Unix socket: python3 worker.py SOCKET."""

import ctypes
import json
import mmap
import os
import random
import resource
import signal
import socket
import sys
import threading
import time

CLONE_NEWNET = 0x40000000
BLOCK = 4096

kept = []


def threads(count):
    for _ in range(count):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def files(count):
    for _ in range(count):
        os.open("/dev/null", os.O_RDONLY)


def sockets(count):
    kept.extend(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count))


def limit(soft):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def write(path, size):
    """Writes with direct I/O so that exactly this number of bytes is written to storage."""
    with mmap.mmap(-1, size) as buffer:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        assert os.write(file, buffer) == size
        os.close(file)


def read(path, size):
    with mmap.mmap(-1, size) as buffer:
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
        assert os.readv(file, [buffer]) == size
        os.close(file)


def calls(count):
    source, sink = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)
    for _ in range(count):
        os.write(sink, os.read(source, 1))
    os.close(source)
    os.close(sink)


def fork():
    pid = os.fork()
    if pid == 0:
        os.close(connection.fileno())
        serve()
    return pid


def wait(pid):
    os.waitpid(pid, 0)


def ignore_children():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def churn(path, size, seconds, orphans):
    """Starts short-lived children that write. With `orphans`, starts grandchildren, for which no process in the Pod waits. Returns the number of writing processes."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        count += 1
        pid = os.fork()
        if pid == 0:
            if orphans and os.fork() != 0:
                os._exit(0)
            time.sleep(random.random() / 50)
            write(path, size)
            time.sleep(random.random() / 50)
            os._exit(0)
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
            time.sleep(0.02)
        else:
            os.waitpid(pid, 0)
    return count


def new_netns():
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def end():
    os._exit(0)


def end_first_thread():
    """Ends only this thread. At least one other thread must exist."""
    ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)


CALLS = {
    call.__name__: call
    for call in (threads, files, sockets, limit, write, read, calls, fork, wait, ignore_children)
    + (churn, new_netns, end, end_first_thread)
}


def serve():
    """Runs commands from a new connection, and exits when the connection closes. Never returns."""
    global connection
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    lines = connection.makefile("rw")
    # The PID that the test sees, and the PID in this process's own PID namespace.
    answer = {"pid": int(os.readlink("/proc/self")), "innerPid": os.getpid()}
    while True:
        lines.write(json.dumps(answer) + "\n")
        lines.flush()
        line = lines.readline()
        if line == "":
            os._exit(0)
        name, *arguments = json.loads(line)
        try:
            answer = {"result": CALLS[name](*arguments)}
        except Exception as error:
            answer = {"error": repr(error)}


serve()
