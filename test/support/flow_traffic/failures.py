"""Connections that cannot be established."""

import asyncio
import errno
import random
import socket
import struct

from connections import Attempt, connect
from ends import TCP_USER_TIMEOUT
from kinds import close_any, exchange
from sums import sums

# The kernel gives up when either limit is reached: the number of SYN retransmissions or the time in milliseconds.
SYN_RETRIES, SYN_MS = 1, 1_200
# Socket option (linux/in.h), available since Linux 6.3.
IP_LOCAL_PORT_RANGE = 51
# A part of the default range of ephemeral ports. The kernel ignores ports outside of the default range.
PASSING_PORTS = (60_000, 60_999)


async def fail(attempt, cause, expected):
    try:
        await attempt.connect()
    except OSError as error:
        if error.errno != expected:
            raise
        attempt.failed(cause)
        return
    raise AssertionError(f"{attempt.target} was reached, expected was: {cause}")


async def refused(route):
    attempt = Attempt(route, *route.refused)
    await fail(attempt, "refused", errno.ECONNREFUSED)
    sums.counters[route.netns]["TcpAttemptFails"] += 1


async def timeout(route):
    """The SYN receives no response."""
    attempt = Attempt(route, *route.silent)
    attempt.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_RETRIES)
    attempt.sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, SYN_MS)
    await fail(attempt, "timeout", errno.ETIMEDOUT)
    sums.counters[route.netns]["TcpAttemptFails"] += 1


async def unreachable(route):
    """No neighbour has the address."""
    attempt = Attempt(route, *route.unreachable)
    await fail(attempt, "unreachable", errno.EHOSTUNREACH)
    sums.counters[route.netns]["TcpAttemptFails"] += 1


async def no_route(route):
    """connect() fails before the socket changes its state, so no kernel counter includes the attempt."""
    attempt = Attempt(route, *route.no_route)
    try:
        await attempt.connect()
    except OSError as error:
        if error.errno != errno.ENETUNREACH:
            raise
    attempt.sock.close()


async def given_up(route):
    """The client closes its socket before a response has arrived."""
    attempt = Attempt(route, *route.silent)
    attempt.begin()
    await asyncio.sleep(random.random() * 0.01)
    attempt.give_up()


def limit_port(attempt, port):
    """Restricts the kernel's choice to this port. Returns False if the kernel lacks this option."""
    try:
        attempt.sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("I", port << 16 | port))
    except OSError:
        return False
    return True


async def no_port(route):
    """All local ports from which the address could be reached are in use."""
    listener = route.listener()
    source = route.source_for(listener.reach)
    to = (listener.reach, listener.port)
    port = random.randint(*PASSING_PORTS)
    attempt = Attempt(route, *to, source=source)
    if random.random() < 0.5 or not limit_port(attempt, port):
        # The application chooses the port itself, which also works on kernels without this option.
        port = route.spare_port()
        attempt.sock.close()
        attempt = Attempt(route, *to, source=source, source_port=port)
    try:
        pair = await connect(route, listener, source=source, source_port=port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        attempt.sock.close()
        return
    await exchange(pair)
    await fail(attempt, "no_port", errno.EADDRNOTAVAIL)
    await close_any(pair)


KINDS = [refused, timeout, unreachable, no_route, given_up, no_port]
