"""Listening sockets, and connections to them. Both ends of each connection are in this process."""

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
# Maximum payload that fits into a SYN of either IP version.
MOST_IN_SYN = 1_000
# Errors with which connect() fails before it sends a SYN.
WITHOUT_SYN = (errno.EADDRNOTAVAIL, errno.ENETUNREACH)

listeners = {}
routes = {}
# Numbers of spare ports. Routes share their addresses, so no two routes may use the same port.
spare = itertools.count()
# Open MPTCP connections.
multipath = set()


class Unsupported(Exception):
    """Raised if the kernel does not support this kind of traffic."""


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
    """Returns an address in the form that the sums use, in which a v4-mapped address is an IPv4 address."""
    return address.removeprefix("::ffff:")


@dataclass
class Listener:
    """A listening socket. @param reach the address to which clients connect if the listener is bound to all addresses"""

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
    # A listener with a backlog of 0 has space for one child only.
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
        """Returns a future for the accepted socket whose client has this address and port."""
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
    """The clients of one namespace, and the listeners and addresses to which they connect."""

    netns: str
    sources: list
    listeners: list = field(default_factory=list)
    # Whether the clients' sockets are IPv6 sockets with v4-mapped addresses.
    mapped: bool = False
    # Address and port of each kind of failure: no socket listens there, no response arrives, no host has the address,
    # and there is no route.
    refused: list = None
    silent: list = None
    unreachable: list = None
    no_route: list = None
    # Range of ports that no other traffic uses.
    spare_ports: list = field(default_factory=lambda: [20000, 29999])
    # Pairs that stay open, and pairs with one closed direction, whose ends are in the order in which they are closed.
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
        """Waits until both ends have acknowledged all data. MPTCP retransmits data that is not acknowledged in time."""
        for end in (self.client, self.server):
            await end.acknowledged()

    def count_again(self, is_received):
        """Counts bytes that MPTCP has retransmitted. @param is_received whether no data is in transit"""
        for end in (self.client, self.server):
            end.count_again()
            if is_received:
                end.other.has_read(end.written - end.other.read)

    def closed(self):
        """Updates the sums. Must be called when an application closes the first of the two ends."""
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
    """A client's attempt to connect to an address. The sums do not include the outcome yet."""

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
                # MPTCP supports this option only since Linux 6.8. On older kernels, the port is chosen now.
                if error.errno != errno.EOPNOTSUPP:
                    raise
        else:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((source, port))

    async def connect(self):
        """@raises OSError if the attempt fails; the row does not include the failure yet"""
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
        """Closes the socket of a failed attempt."""
        self.sock.close()
        self.row.failed[cause] += 1

    def begin(self):
        """Sends the SYN without waiting for a response."""
        self.row.connecting += 1
        sums.counters[self.netns]["TcpActiveOpens"] += 1
        error = self.sock.connect_ex(self.target)
        if error != errno.EINPROGRESS:
            raise OSError(error, f"connect to {self.target}")

    def give_up(self):
        self.failed("given_up")
        self.row.connecting -= 1


    async def open_fast(self, client, count):
        """Sends the first bytes with the SYN if the kernel has a cookie of the server. @raises OSError like connect()
        """
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
    """Opens a connection. @raises OSError if that fails; the sums do not include the failure"""
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
        # With TCP_DEFER_ACCEPT, the kernel creates the server's socket only when data arrives.
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
