"""Traffic on connections that are closed in the normal way."""

import random
import socket

from connections import connect, multipath
from ends import settle, transfer

MOST_BYTES = 60_000


async def exchange(pair, most=MOST_BYTES):
    await transfer(pair.client, pair.server, random.randint(1, most))
    await transfer(pair.server, pair.client, random.randint(0, most))


def in_any_order(pair):
    return random.sample([pair.client, pair.server], 2)


async def close_orderly(pair, first, second):
    """Closes one end and then the other end. Both applications have read all data."""
    if first.is_mptcp:
        await pair.acknowledged()
        pair.count_again(True)
        multipath.discard(pair)
    pair.closed()
    first.check()
    first.close()
    await second.end_of_stream()
    second.check()
    second.close()
    settle(first, second)
    settle(second, first)


async def close_one_way(pair):
    """Closes one direction of a connection while data still flows in the other one. Returns the ends in the order in
    which they were closed.
    """
    pair.half()
    first, second = in_any_order(pair)
    first.sock.shutdown(socket.SHUT_WR)
    await second.end_of_stream()
    await transfer(second, first, random.randint(1, MOST_BYTES))
    return first, second


async def close_other_way(pair, first, second):
    pair.whole()
    await close_orderly(pair, second, first)


async def close_any(pair):
    if random.random() < 0.4:
        await close_other_way(pair, *await close_one_way(pair))
    else:
        await close_orderly(pair, *in_any_order(pair))


async def short(route):
    pair = await connect(route)
    for _ in range(random.randint(1, 3)):
        await exchange(pair)
    await close_any(pair)


async def hold(route):
    """Opens a connection that remains open."""
    pair = await connect(route)
    await exchange(pair)
    route.held.append(pair)


async def chat(route):
    """Sends data on a connection that remains open."""
    if not route.held:
        await hold(route)
        return
    pair = route.held.pop(random.randrange(len(route.held)))
    await exchange(pair)
    route.held.append(pair)


async def release(route):
    """Closes a connection that `hold` opened."""
    if route.held:
        await close_any(route.held.pop(random.randrange(len(route.held))))


async def half(route):
    """Opens a connection that remains open, and closes one of its directions."""
    pair = await connect(route)
    await exchange(pair)
    route.halves.append((pair, *await close_one_way(pair)))


async def whole(route):
    """Closes a connection whose other direction `half` closed."""
    if route.halves:
        await close_other_way(*route.halves.pop())


async def close_all(route):
    while route.held:
        await release(route)
    while route.halves:
        await whole(route)


KINDS = [short, hold, chat, release, half, whole]
