"""Generates TCP traffic of every kind between network namespaces, and keeps its own sums of this traffic. The argument
is the seed of the random choices.

Reads a JSON object from each line, and writes a JSON object when the command is complete. Commands run concurrently, so
sums can be read while traffic is running. A single thread has both ends of each connection, so each command sees every
write and every read either completed or not started.
"""

import asyncio
import json
import random
import resource
import sys

import failures
import kinds
import netns
import oddities
import resets
from connections import Listener, Route, Unsupported, listeners, multipath, routes
from sums import sums

KINDS = {kind.__name__: kind for module in (kinds, resets, failures, oddities) for kind in module.KINDS}
LOOK_SECONDS = 0.005


def listen(name, **of):
    """Opens a listener. Returns whether the kernel supports it."""
    try:
        listeners[name] = Listener(**of).open()
    except Unsupported:
        return False
    return True


def route(name, **of):
    routes[name] = Route(**of)


async def play(mix, count, parallel=8):
    """Plays random kinds of traffic. @param mix kinds, each with its route and weight"""
    chosen = iter(random.choices([(kind, of) for kind, of, _ in mix], [weight for _, _, weight in mix], k=count))

    async def one_by_one():
        for kind, of in chosen:
            try:
                await KINDS[kind](routes[of])
            except Exception as error:
                raise RuntimeError(f"{kind} on {of}: {type(error).__name__} {error}") from error

    async with asyncio.TaskGroup() as group:
        for _ in range(parallel):
            group.create_task(one_by_one())


async def close_all():
    """Closes all connections that were left open."""
    for of in routes.values():
        await kinds.close_all(of)


async def rest(sockets):
    """Waits until two consecutive readings show no socket whose counters may still change. @param sockets expected
    number of open sockets by namespace
    """
    for pair in list(multipath):
        await pair.acknowledged()
    calm = 0
    while calm < 2:
        is_calm = all(netns.survey(name) == (count, 0) for name, count in sockets.items())
        calm = calm + 1 if is_calm else 0
        await asyncio.sleep(LOOK_SECONDS)
    for pair in multipath:
        pair.count_again(True)


def tell():
    for pair in multipath:
        pair.count_again(False)
    return sums.as_json()


COMMANDS = {command.__name__: command for command in (listen, route, play, close_all, rest, tell)}


def reason(error):
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(reason(one) for one in error.exceptions)
    return f"{type(error).__name__} {error}"


async def run(request):
    identity, call = request["id"], request["call"]
    try:
        result = COMMANDS[call](**request["args"])
        result = await result if asyncio.iscoroutine(result) else result
        response = {"id": identity, "result": result}
    except Exception as error:
        response = {"id": identity, "error": f"{call}: {reason(error)}"}
    print(json.dumps(response), flush=True)


async def main(seed):
    random.seed(seed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    running = set()
    while line := await lines.readline():
        request = json.loads(line)
        task = asyncio.create_task(run(request))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main(sys.argv[1]))
