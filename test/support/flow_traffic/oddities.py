"""Rare ways to create, use and close sockets."""

import asyncio
import errno
import random
import socket
import struct

import netns
from connections import Attempt, Listener, connect, pair_of
from ends import End, settle, transfer
from kinds import close_any, close_orderly, exchange
from sums import sums

FEW_BYTES = 2_000
TIMES = 3
# A TIME_WAIT socket is replaced only if the new SYN has a later timestamp. Timestamps have a resolution of one
# millisecond.
PAUSE_SECONDS = 0.003
SYN_SECONDS = 0.02
# Offset of tcpi_total_retrans in struct tcp_info.
TOTAL_RETRANSMITS_AT = 100


async def time_wait(route):
    """Connects again from the same client port while the server or the client still has the previous connection in
    TIME_WAIT.
    """
    listener = route.listener()
    source = route.source_for(listener.reach)
    port = route.spare_port()
    for _ in range(TIMES):
        try:
            pair = await connect(route, listener, source=source, source_port=port)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            # The kernel does not replace the TIME_WAIT socket yet.
            sums.row(route.netns, "client", listener.reach, listener.port).failed["no_port"] += 1
            continue
        await exchange(pair, FEW_BYTES)
        ends = [pair.server, pair.client]
        await close_orderly(pair, *(ends if random.random() < 0.7 else reversed(ends)))
        await asyncio.sleep(PAUSE_SECONDS)


def pass_on(end, to):
    """Sends a socket as a message (SCM_RIGHTS), receives it in another namespace, and closes the first descriptor."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"x"], [end.sock.fileno()])
        end.sock.close()
        netns.enter(to)
        _, (descriptor,), _, _ = socket.recv_fds(theirs, 1, 1)
        end.sock = socket.socket(fileno=descriptor)
        end.sock.setblocking(False)


async def passed(route):
    """Passes the socket of each end to the namespace of the other end."""
    pair = await connect(route)
    await exchange(pair)
    pass_on(pair.client, pair.server.netns)
    await exchange(pair)
    pass_on(pair.server, pair.client.netns)
    await exchange(pair)
    await close_any(pair)


async def self_connect(route):
    """Connects a socket to itself, which is a simultaneous open of both sides."""
    source = random.choice(route.sources)
    port = route.spare_port()
    attempt = Attempt(route, source, port, source=source, source_port=port)
    end = End(route.netns, "client", source, port)
    end.sock = attempt.sock
    await attempt.connect()
    end.established()
    await transfer(end, end, random.randint(1, FEW_BYTES))
    end.row.open -= 1
    end.check()
    end.close()
    settle(end, end)


def listener_of_its_own(route, backlog):
    model = route.listener()
    return Listener(model.netns, model.reach, route.spare_port(), model.reach, backlog=backlog, accepts=False).open()


async def unaccepted_pair(route, listener):
    """Opens a connection that stays in the accept queue, with data that no application reads."""
    attempt = Attempt(route, listener.reach, listener.port)
    pair = pair_of(attempt, listener)
    pair.server.row.connecting += 1
    await attempt.connect()
    pair.client.established()
    pair.client.write(random.randint(1, FEW_BYTES))
    await pair.client.acknowledged()
    pair.server.established()
    sums.counters[listener.netns]["TcpPassiveOpens"] += 1
    return pair


async def close_listener(listener, pairs):
    """Closes a listener, which resets the connections that were not accepted."""
    for pair in pairs:
        pair.closed()
    listener.close()
    for pair in pairs:
        pair.server.ended("reset_here")
        pair.server.counters["TcpEstabResets"] += 1
        await pair.client.reset()
        pair.client.was_reset()
        settle(pair.client, pair.server)
        settle(pair.server, pair.client)


async def unaccepted(route):
    """Closes the listener before it has accepted a connection."""
    listener = listener_of_its_own(route, 8)
    pairs = [await unaccepted_pair(route, listener) for _ in range(random.randint(1, TIMES))]
    await close_listener(listener, pairs)


async def overflow(route):
    """Fills the accept queue so that the kernel drops SYNs and the clients give up."""
    backlog = random.randint(0, 2)
    listener = listener_of_its_own(route, backlog)
    pairs = [await unaccepted_pair(route, listener) for _ in range(backlog + 1)]
    for _ in range(random.randint(1, TIMES)):
        attempt = Attempt(route, listener.reach, listener.port)
        attempt.begin()
        await asyncio.sleep(SYN_SECONDS)
        info = attempt.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        drops = 1 + struct.unpack_from("=I", info, TOTAL_RETRANSMITS_AT)[0]
        attempt.give_up()
        sums.listen_drops[listener.netns][listener.port] += drops
        sums.counters[listener.netns]["TcpExtListenDrops"] += drops
    await close_listener(listener, pairs)


KINDS = [time_wait, passed, self_connect, unaccepted, overflow]
