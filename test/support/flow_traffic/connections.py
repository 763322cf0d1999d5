"""Listening sockets, and connections to them of which both ends are in this process."""

import asyncio
import errno
import itertools
import random
import socket
from dataclasses import dataclass, field

import netns
from ends import JUNK, End, readable, writable
from sums import sums

IPPROTO_MPTCP = 262
IP_BIND_ADDRESS_NO_PORT = 24
SO_REUSEPORT = 15
BACKLOG = 1024
# Fits a SYN of either family.
MOST_IN_SYN = 1_000
# Errors of connect() for which nothing was sent.
WITHOUT_SYN = (errno.EADDRNOTAVAIL, errno.ENETUNREACH)

listeners = {}
routes = {}
# Numbers of spare ports: routes share their addresses, so none uses the port of another.
spare = itertools.count()
# Open MPTCP connections.
multipath = set()


class Unsupported(Exception):
    """The kernel lacks what this kind of traffic needs."""


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def make(address, protocol=0):
    try:
        made = socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT):
            raise Unsupported(f"protocol {protocol}") from error
        raise
    return made


def plain(address):
    """Returns an address as the sums name it: a v4-mapped one is IPv4."""
    return address.removeprefix("::ffff:")


@dataclass
class Listener:
    """@param reach the address that clients connect to, where the listener is bound to all"""

    netns: str
    bind: str
    port: int
    reach: str
    backlog: int = BACKLOG
    sockets: int = 1
    fastopen: int = 0
    mptcp: bool = False
    defer: bool = False
    accepts: bool = True
    made: list = field(default_factory=list)
    # A listener with a backlog of 0 has room for one child.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: dict = field(default_factory=dict)

    def open(self):
        netns.enter(self.netns)
        for _ in range(self.sockets):
            one = make(self.bind, IPPROTO_MPTCP if self.mptcp else 0)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1 if self.sockets > 1 else 0)
            if self.bind == "::":
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if self.defer:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
            if self.fastopen:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, self.fastopen)
            one.bind((self.bind, self.port))
            one.listen(self.backlog)
            self.made.append(one)
            if self.accepts:
                asyncio.get_running_loop().add_reader(one, self.accept, one)
        return self

    def accept(self, listener):
        try:
            accepted, peer = listener.accept()
        except BlockingIOError:
            return
        accepted.setblocking(False)
        self.expect(plain(peer[0]), peer[1]).set_result(accepted)

    def expect(self, address, port):
        """Returns the future of the child whose client has this address and port."""
        future = self.waiting.get((address, port))
        if future is None:
            future = self.waiting[address, port] = asyncio.get_running_loop().create_future()
        return future

    async def child(self, address, port):
        try:
            return await self.expect(address, port)
        finally:
            del self.waiting[address, port]

    def close(self):
        for one in self.made:
            if self.accepts:
                asyncio.get_running_loop().remove_reader(one)
            one.close()


@dataclass
class Route:
    """Clients of one namespace, and the listeners and addresses that they connect to."""

    netns: str
    sources: list
    listeners: list = field(default_factory=list)
    # The client's sockets are IPv6, its addresses v4-mapped.
    mapped: bool = False
    # Address and port where nobody listens, nobody answers, no host is, no route leads.
    refused: list = None
    silent: list = None
    unreachable: list = None
    no_route: list = None
    # Ports that nothing else uses.
    spare_ports: list = field(default_factory=lambda: [20000, 29999])
    # Pairs that stay open, and those with one closed direction, with their ends in the order of closing.
    held: list = field(default_factory=list)
    halves: list = field(default_factory=list)

    def spare_port(self):
        low, high = self.spare_ports
        return low + next(spare) % (high - low + 1)

    def source_for(self, address):
        return random.choice([source for source in self.sources if family_of(source) == family_of(address)])

    def listener(self):
        return listeners[random.choice(self.listeners)]


@dataclass(eq=False)
class Pair:
    client: End
    server: End

    async def acknowledged(self):
        """Waits until both kernels have everything. MPTCP sends data again that is not acknowledged in time."""
        for end in (self.client, self.server):
            await end.acknowledged()

    def count_again(self, is_received):
        """Counts bytes that MPTCP has sent again. @param is_received nothing is on its way"""
        for end in (self.client, self.server):
            end.count_again()
            if is_received:
                end.other.has_read(end.written - end.other.read)

    def closed(self):
        """Called when an application closes one of the ends first."""
        self.client.row.open -= 1
        self.server.row.open -= 1

    def half(self):
        for row in (self.client.row, self.server.row):
            row.open -= 1
            row.half_open += 1

    def whole(self):
        for row in (self.client.row, self.server.row):
            row.open += 1
            row.half_open -= 1


class Attempt:
    """A client's socket on its way to an address, of whose outcome the sums know nothing yet."""

    def __init__(self, route, address, port, source=None, source_port=0, protocol=0, sock=None):
        self.source = source or route.source_for(address)
        self.netns, self.address, self.port = route.netns, address, port
        self.row = sums.row(route.netns, "client", address, port)
        prefix = "::ffff:" if route.mapped and ":" not in address else ""
        self.target = (prefix + address, port)
        self.sock = sock
        if sock is None:
            netns.enter(route.netns)
            self.sock = make(self.target[0], protocol)
            self.bind(prefix + self.source, source_port)

    def bind(self, source, port):
        if port == 0:
            try:
                self.sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            except OSError as error:
                # MPTCP has the option since Linux 6.8; without it, the port is chosen now.
                if error.errno != errno.EOPNOTSUPP:
                    raise
        else:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((source, port))

    async def connect(self):
        """@raises OSError where it fails, of which the row then knows nothing yet"""
        self.row.connecting += 1
        sums.counters[self.netns]["TcpActiveOpens"] += 1
        try:
            error = self.sock.connect_ex(self.target)
            if error not in (0, errno.EINPROGRESS):
                raise OSError(error, f"connect to {self.target}")
            await self.outcome()
        except OSError as error:
            self.row.connecting -= 1
            if error.errno in WITHOUT_SYN:
                sums.counters[self.netns]["TcpActiveOpens"] -= 1
            raise

    async def outcome(self):
        await writable(self.sock)
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error != 0:
            raise OSError(error, f"connect to {self.target}")

    def failed(self, cause):
        """Closes the socket of an attempt that came to nothing."""
        self.sock.close()
        self.row.failed[cause] += 1

    def begin(self):
        """Sends the SYN, and does not wait for an answer."""
        self.row.connecting += 1
        sums.counters[self.netns]["TcpActiveOpens"] += 1
        error = self.sock.connect_ex(self.target)
        if error != errno.EINPROGRESS:
            raise OSError(error, f"connect to {self.target}")

    def give_up(self):
        self.failed("given_up")
        self.row.connecting -= 1


    async def open_fast(self, client, count):
        """Sends the first bytes with the SYN, where the kernel has a cookie of the server. @raises OSError as connect"""
        self.row.connecting += 1
        sums.counters[self.netns]["TcpActiveOpens"] += 1
        try:
            try:
                client.wrote(self.sock.sendto(JUNK[:count], socket.MSG_FASTOPEN, self.target))
            except BlockingIOError:
                pass
            await self.outcome()
        except OSError:
            self.row.connecting -= 1
            raise


def pair_of(attempt, listener):
    client = End(attempt.netns, "client", attempt.address, attempt.port)
    server = End(listener.netns, "server", attempt.source, listener.port)
    client.other, server.other = server, client
    client.is_mptcp = server.is_mptcp = listener.mptcp
    client.sock = attempt.sock
    return Pair(client, server)


async def connect(route, listener=None, **options):
    """Opens a connection. @raises OSError where that fails, without a trace in the sums"""
    listener = listener or route.listener()
    if listener.backlog > 0:
        return await connect_to(route, listener, options)
    async with listener.turn:
        return await connect_to(route, listener, options)


async def connect_to(route, listener, options):
    protocol = IPPROTO_MPTCP if listener.mptcp else 0
    attempt = Attempt(route, listener.reach, listener.port, protocol=protocol, **options)
    pair = pair_of(attempt, listener)
    client, server = pair.client, pair.server
    server.row.connecting += 1
    try:
        if listener.fastopen:
            await attempt.open_fast(client, random.randint(1, MOST_IN_SYN))
        else:
            await attempt.connect()
    except OSError:
        server.row.connecting -= 1
        raise
    client.established()
    if listener.defer:
        # The kernel makes the child when data comes.
        client.write(1)
    address, port = attempt.sock.getsockname()[:2]
    server.sock = await listener.child(plain(address), port)
    await server.acquainted()
    server.established()
    if listener.mptcp:
        multipath.add(pair)
    sums.counters[listener.netns]["TcpPassiveOpens"] += 1
    while server.read < client.written:
        if server.receive() is None:
            await readable(server.sock)
    return pair
