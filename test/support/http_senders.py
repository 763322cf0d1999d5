"""Exchanges HTTP requests whose bytes reach the socket in different ways. Arguments:

    serve ADDRESS PORT          answers until the input ends
    send ADDRESS PORT ROUNDS    sends ROUNDS requests in each way, and prints their numbers by way as JSON

The path of a request names the way in which the server sends the response."""

import ctypes
import json
import mmap
import os
import socket
import struct
import sys
import tempfile
import threading

libc = ctypes.CDLL(None, use_errno=True)
SETUP, ENTER = 425, 426
OP_SEND, GET_EVENTS = 26, 1
SEND_NUMBER = 0x5EED  # of the request, which its completion repeats
MSG_ZEROCOPY, SO_ZEROCOPY = 0x4000000, 60


def sendfile(connection, data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        sent = 0
        while sent < len(data):
            sent += os.sendfile(connection.fileno(), file.fileno(), sent, len(data) - sent)


def splice(connection, data):
    reader, writer = os.pipe()
    try:
        for at in range(0, len(data), 4096):
            part = data[at : at + 4096]
            os.write(writer, part)
            left = len(part)
            while left:
                left -= os.splice(reader, connection.fileno(), left)
    finally:
        os.close(reader)
        os.close(writer)


def more(connection, data):
    connection.send(data[:7], socket.MSG_MORE)
    connection.sendall(data[7:])


def vectors(connection, data):
    os.writev(connection.fileno(), [data[:5], data[5:]])


def zerocopy(connection, data):
    connection.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    connection.send(data, MSG_ZEROCOPY)


class Ring:
    """A ring of io_uring with one entry (linux/io_uring.h)."""

    def __init__(self):
        parameters = ctypes.create_string_buffer(120)
        self.fd = libc.syscall(SETUP, 1, parameters)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        sq = struct.unpack_from("10I", parameters.raw, 40)
        cq = struct.unpack_from("10I", parameters.raw, 80)
        self.tail_at, self.array_at, self.head_at, self.cqes_at = sq[1], sq[6], cq[0], cq[5]
        entries, completions = struct.unpack_from("2I", parameters.raw, 0)
        self.mask = completions - 1
        self.queue = mmap.mmap(self.fd, max(self.array_at + 4 * entries, self.cqes_at + 16 * completions), offset=0)
        self.entries = mmap.mmap(self.fd, 64 * entries, offset=0x10000000)

    def send(self, connection, data):
        buffer = ctypes.create_string_buffer(data, len(data))
        entry = struct.pack("BBHiQQIIQ", OP_SEND, 0, 0, connection.fileno(), 0, ctypes.addressof(buffer), len(data), 0, SEND_NUMBER)
        self.entries[0 : len(entry)] = entry
        tail = struct.unpack_from("I", self.queue, self.tail_at)[0]
        struct.pack_into("I", self.queue, self.array_at, 0)
        struct.pack_into("I", self.queue, self.tail_at, tail + 1)
        if libc.syscall(ENTER, self.fd, 1, 1, GET_EVENTS, None, 0) != 1:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        head = struct.unpack_from("I", self.queue, self.head_at)[0]
        number, result = struct.unpack_from("Qi", self.queue, self.cqes_at + 16 * (head & self.mask))
        struct.pack_into("I", self.queue, self.head_at, head + 1)
        # Only the kernel writes completions.
        if (number, result) != (SEND_NUMBER, len(data)):
            raise OSError(-result, f"send by io_uring: completion {number}")

    def close(self):
        self.queue.close()
        self.entries.close()
        os.close(self.fd)


def uring(connection, data):
    ring = Ring()
    try:
        ring.send(connection, data)
    finally:
        ring.close()


WAYS = {
    "write": lambda connection, data: os.write(connection.fileno(), data),
    "more": more,
    "vectors": vectors,
    "zerocopy": zerocopy,
    "sendfile": sendfile,
    "splice": splice,
    "uring": uring,
}


def read_until(connection, end):
    data = b""
    while not data.endswith(end):
        part = connection.recv(65536)
        if not part:
            return b""
        data += part
    return data


def serve_one(connection):
    with connection:
        while request := read_until(connection, b"\r\n\r\n"):
            way = request.split(b" ")[1][1:].decode()
            body = b"x" * 3000 + b"end"
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            WAYS[way](connection, head + body)


def serve(address, port):
    server = socket.create_server((address, port))

    def accept():
        while True:
            threading.Thread(target=serve_one, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def send(address, port, rounds):
    with socket.create_connection((address, port)) as connection:
        for number in range(rounds):
            for way, write in WAYS.items():
                write(connection, b"GET /%s HTTP/1.1\r\nHost: b\r\nX-Number: %d\r\n\r\n" % (way.encode(), number))
                assert read_until(connection, b"end")
    print(json.dumps({way: rounds for way in WAYS}))


command, address, port, *rest = sys.argv[1:]
if command == "serve":
    serve(address, int(port))
else:
    send(address, int(port), int(rest[0]))
