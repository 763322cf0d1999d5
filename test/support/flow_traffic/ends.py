"""One end of a connection: its socket, and the number of bytes that its application has written and read."""

import asyncio
import ctypes
import fcntl
import socket
import struct

import netns
from sums import sums

CHUNK = 1 << 16
JUNK = memoryview(bytes(CHUNK))

# Numbers of bytes that have not been acknowledged yet, and that have not been sent yet (linux/sockios.h).
SIOCOUTQ, SIOCOUTQNSD = 0x5411, 0x894B
# asm-generic/socket.h
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
LINGER_ZERO = struct.pack("ii", 1, 0)
# struct tcp_info (linux/tcp.h)
RECEIVED_AT, SENT_AT, RETRANSMITTED_AT, INFO_SIZE = 128, 200, 208, 216
# linux/tcp.h
TCP_USER_TIMEOUT = 18

# A classic BPF program that drops every segment: `ret #0`.
DROP_ALL = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
DROP_FILTER = struct.pack("HxxxxxxP", 1, ctypes.addressof(DROP_ALL))

SETTLE_SECONDS = 0.002


async def ready(sock, add, remove):
    future = asyncio.get_running_loop().create_future()
    add(sock, lambda: future.done() or future.set_result(None))
    try:
        await future
    finally:
        remove(sock)


async def readable(sock):
    """Waits until data can be read or the connection is closed."""
    loop = asyncio.get_running_loop()
    await ready(sock, loop.add_reader, loop.remove_reader)


async def writable(sock):
    loop = asyncio.get_running_loop()
    await ready(sock, loop.add_writer, loop.remove_writer)


class End:
    def __init__(self, where, role, peer, port):
        self.netns = where
        self.row = sums.row(where, role, peer, port)
        self.counters = sums.counters[where]
        self.sock = None
        self.other = self
        self.written = self.read = 0
        self.is_mptcp = False
        # Whether a FIN has been received.
        self.has_ended = False

    def established(self):
        self.row.connecting -= 1
        self.row.connections += 1
        self.row.open += 1

    async def acquainted(self):
        """Waits until the handshake is complete, because TCP Fast Open allows a connection to be accepted earlier."""
        while self.info()[0] in (netns.SYN_RECV, netns.NEW_SYN_RECV):
            await asyncio.sleep(0)

    def write(self, count):
        """Writes at most `count` bytes. Returns the number of bytes that the kernel accepted, which is 0 if its buffer
        is full.
        """
        try:
            taken = self.sock.send(JUNK[: min(count, CHUNK)])
        except BlockingIOError:
            return 0
        self.wrote(taken)
        return taken

    def wrote(self, count):
        self.written += count
        self.row.sent_max += count
        self.other.row.received_max += count

    def receive(self, most=CHUNK):
        """Reads the available data. Returns its length, None if no data is available, or 0 at the end of the stream."""
        try:
            count = len(self.sock.recv(most))
        except BlockingIOError:
            return None
        self.has_read(count)
        return count

    def has_read(self, count):
        self.read += count
        self.row.received_min += count
        self.other.row.sent_min += count

    def count_again(self):
        """Counts bytes that MPTCP has retransmitted, because they are new data for the subflow."""
        again = self.info()[1] - self.written
        if again > 0:
            self.wrote(again)

    async def end_of_stream(self):
        while (count := self.receive()) is None:
            await readable(self.sock)
        if count != 0:
            raise AssertionError(f"{count} bytes more than were expected")
        self.has_ended = True

    async def reset(self):
        """Waits for a RST from the other end."""
        while True:
            try:
                if self.receive() == 0:
                    raise AssertionError("the stream ended in order, a RST was expected")
            except (ConnectionResetError, BrokenPipeError):
                return
            await readable(self.sock)

    def queued(self):
        """Returns the number of bytes that have not been acknowledged, and the number of bytes that have not been sent."""
        return tuple(
            struct.unpack("i", fcntl.ioctl(self.sock, request, bytes(4)))[0] for request in (SIOCOUTQ, SIOCOUTQNSD)
        )

    async def acknowledged(self):
        """Waits until the other end's kernel has acknowledged all data that was written."""
        while self.queued()[0] != 0:
            await asyncio.sleep(SETTLE_SECONDS)

    async def arrived(self):
        """Waits until all data that was sent has been acknowledged. Data that was written but not sent may remain."""
        before = None
        while (now := self.queued()) != before or now[0] != now[1]:
            before = now
            await asyncio.sleep(SETTLE_SECONDS)

    def info(self):
        """Returns the state, and the sent and received bytes according to TCP_INFO, which counts a received FIN as one
        byte.
        """
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_SIZE)
        received, sent, retransmitted = (
            struct.unpack_from("=Q", info, at)[0] for at in (RECEIVED_AT, SENT_AT, RETRANSMITTED_AT)
        )
        return info[0], sent - retransmitted, received

    async def settled_info(self):
        """Returns TCP_INFO as soon as it is stable."""
        before = None
        while (now := self.info()) != before:
            before = now
            await asyncio.sleep(SETTLE_SECONDS)
        return now

    def drop_all(self, on=True):
        """Drops all incoming segments before TCP processes them."""
        self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER if on else SO_DETACH_FILTER, DROP_FILTER)

    def check(self, sent=None, received=None):
        """Compares the sums of this connection with the kernel's counters.

        @raises AssertionError if they differ, which is a bug in the generator
        """
        state, sent_really, received_really = self.info()
        found = [sent_really, received_really - (1 if self.has_ended else 0)]
        expected = [self.written if sent is None else sent, self.other.written if received is None else received]
        if self.is_mptcp:
            # The FIN of a subflow is not visible anywhere else.
            del found[1], expected[1]
        if found != expected:
            raise AssertionError(f"the kernel counts {found} bytes in state {state}, the generator {expected}")

    def close(self, cause="closed"):
        self.sock.close()
        self.ended(cause)

    def ended(self, cause):
        self.row.ends[cause] += 1

    def abort(self):
        """Closes the socket with a RST, by setting SO_LINGER to a time of 0."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.close("reset_here")
        self.counters["TcpEstabResets"] += 1

    def was_reset(self):
        """Closes a socket whose connection was reset by the other end."""
        self.close("reset_by_peer")
        self.counters["TcpEstabResets"] += 1


def settle(sender, receiver, sent=None, received=None):
    """Sets the sums of one direction of a closed connection to the bytes that were really sent and received. By
    default, these are all bytes that were written.
    """
    sent = sender.written if sent is None else sent
    received = sent if received is None else received
    sender.row.sent_min += sent - receiver.read
    sender.row.sent_max -= sender.written - sent
    receiver.row.received_min += received - receiver.read
    receiver.row.received_max -= sender.written - received


async def transfer(sender, receiver, count):
    """Writes bytes at one end and reads them at the other end."""
    to_write = to_read = count
    while to_read > 0:
        taken = sender.write(to_write) if to_write > 0 else 0
        to_write -= taken
        came = receiver.receive(to_read)
        if came == 0:
            raise AssertionError("the stream ended too early")
        to_read -= came or 0
        if not came and not taken:
            await readable(receiver.sock)
