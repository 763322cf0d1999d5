"""Connections that are closed by a RST, or because the peer does not respond."""

import ctypes
import random
import socket
import struct

import netns
from connections import connect
from ends import CHUNK, TCP_USER_TIMEOUT, readable, settle
from kinds import close_any, exchange, in_any_order

MOST_UNREAD = 5_000
# A number of bytes that fits into one segment.
SMALL = 1_000
SEND_BUFFER = 32_768
MOST_IN_FLIGHT = 400_000
SILENCE_MS = 300


async def abort(route):
    """One end closes with a RST. All data that it wrote was acknowledged, but the other end has not read part of it."""
    pair = await connect(route)
    await exchange(pair)
    first, second = in_any_order(pair)
    first.write(random.randint(1, MOST_UNREAD))
    await first.acknowledged()
    pair.closed()
    first.check()
    first.abort()
    await second.reset()
    second.was_reset()
    settle(first, second)
    settle(second, first)


async def unread(route):
    """One end closes before it has read all data, so its kernel sends a RST."""
    pair = await connect(route)
    await exchange(pair)
    first, second = in_any_order(pair)
    second.write(random.randint(1, MOST_UNREAD))
    await second.acknowledged()
    pair.closed()
    first.check()
    first.close("reset_here")
    first.counters["TcpEstabResets"] += 1
    await second.reset()
    second.was_reset()
    settle(first, second)
    settle(second, first)


async def disconnect(route):
    """The client disconnects by calling connect() with AF_UNSPEC, and then uses its socket for another connection."""
    listener = route.listener()
    source = route.source_for(listener.reach)
    pair = await connect(route, listener, source=source)
    await exchange(pair)
    client, server = pair.client, pair.server
    await client.acknowledged()
    pair.closed()
    client.check()
    unspecified = ctypes.create_string_buffer(struct.pack("H14x", socket.AF_UNSPEC))
    if netns.libc.connect(client.sock.fileno(), unspecified, 16) != 0:
        raise OSError(ctypes.get_errno(), "connect to AF_UNSPEC")
    client.ended("reset_here")
    client.counters["TcpEstabResets"] += 1
    await server.reset()
    server.was_reset()
    settle(client, server)
    settle(server, client)
    again = await connect(route, listener, source=source, sock=client.sock)
    await exchange(again)
    await close_any(again)


async def in_flight(route):
    """One end closes with a RST while data from the other end is in flight. TCP_INFO shows how much data was sent and
    how much had arrived.
    """
    pair = await connect(route)
    await exchange(pair)
    first, second = in_any_order(pair)
    await first.acknowledged()
    most = random.randint(CHUNK, MOST_IN_FLIGHT)
    while second.written < most and second.write(CHUNK) > 0:
        pass
    first.receive(random.randint(1, CHUNK))
    # No further data may arrive. Otherwise, the numbers would change before the RST is sent.
    first.drop_all()
    second.write(random.randint(1, SMALL))
    _, _, received = await first.settled_info()
    pair.closed()
    first.abort()
    await second.reset()
    _, sent, _ = second.info()
    second.was_reset()
    settle(first, second)
    settle(second, first, sent, received)


async def stuffed(route):
    """One end fills the buffers, and closes with a RST before all data that it wrote has been sent."""
    pair = await connect(route)
    await exchange(pair)
    first, second = in_any_order(pair)
    await second.acknowledged()
    first.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    while first.write(CHUNK) > 0:
        pass
    await first.arrived()
    pair.closed()
    first.abort()
    await second.reset()
    _, _, received = second.info()
    second.was_reset()
    # No data was in flight, so the bytes that were received are those that were sent.
    settle(first, second, received, received)
    settle(second, first)


async def lost_reset(route):
    """The connection is half open: the client does not notice that the server is gone until it sends a byte."""
    pair = await connect(route)
    await exchange(pair)
    client, server = pair.client, pair.server
    await server.acknowledged()
    await client.acknowledged()
    pair.half()
    client.drop_all()
    server.check()
    server.abort()
    client.drop_all(False)
    pair.whole()
    pair.closed()
    before = client.written
    client.write(1)
    await client.reset()
    client.was_reset()
    settle(client, server, client.written, before)
    settle(server, client)


async def silent_peer(route):
    """The server's host stops responding, and the client gives up after TCP_USER_TIMEOUT."""
    pair = await connect(route)
    await exchange(pair)
    client, server = pair.client, pair.server
    await server.acknowledged()
    await client.acknowledged()
    server.drop_all()
    client.sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, SILENCE_MS)
    pair.closed()
    before = client.written
    client.write(random.randint(1, SMALL))
    try:
        while client.receive() is None:
            await readable(client.sock)
    except TimeoutError:
        pass
    client.close("timeout")
    client.counters["TcpEstabResets"] += 1
    server.check(received=before)
    server.abort()
    settle(client, server, client.written, before)
    settle(server, client)


KINDS = [abort, unread, disconnect, in_flight, stuffed, lost_reset, silent_peer]
