"""Functions for named network namespaces. A socket belongs to the namespace that its thread was in when it created the socket."""

import ctypes
import os

CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
handles = {}
current = None

# Socket states by their numbers in /proc/net/tcp (include/net/tcp_states.h).
ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, TIME_WAIT = 1, 2, 3, 4, 5, 6
CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING, NEW_SYN_RECV = 7, 8, 9, 10, 11, 12
# Temporary states: a socket leaves them without any action by the application.
PASSING = {SYN_SENT, SYN_RECV, FIN_WAIT1, LAST_ACK, CLOSING, NEW_SYN_RECV}
# Timer number in /proc/net/tcp by which a TIME_WAIT socket is recognised, because its state may be shown as the previous one.
TIME_WAIT_TIMER = 3


def enter(name):
    global current
    if name == current:
        return
    if name not in handles:
        handles[name] = os.open(f"/run/netns/{name}", os.O_RDONLY)
    if libc.setns(handles[name], CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"setns to {name}")
    current = name


def survey(name):
    """Returns the number of a namespace's sockets whose state is stable, and the number of sockets whose counters may
    still change. The latter are in a temporary state or belong to no process.

    TIME_WAIT sockets have no counters. Connections that wait to be accepted belong to no process either.
    """
    enter(name)
    staying = passing = 0
    for file in ("tcp", "tcp6"):
        with open(f"/proc/self/net/{file}") as table:
            next(table)
            for line in table:
                fields = line.split()
                state, timer, inode = int(fields[3], 16), int(fields[5][:2], 16), fields[9]
                if state in (TIME_WAIT, LISTEN) or timer == TIME_WAIT_TIMER:
                    continue
                if state in PASSING or inode == "0":
                    passing += 1
                else:
                    staying += 1
    return staying, passing
