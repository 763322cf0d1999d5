"""
Plays one end of conversations over TCP. Reads one from each line of the standard input, and prints `done` after each: a
JSON array of [end, bytes], where `end` is `client` or `server` and the bytes are hexadecimal digits. An end sends what is
its own in one call, and reads as many bytes as the other end has to send. At last, the client closes the connection.

  serve HOST PORT
  send HOST PORT
"""

import json
import socket
import sys


def play(connection, end, conversation):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sender, text in conversation:
        data = bytes.fromhex(text)
        if sender == end:
            connection.sendall(data)
            continue
        left = len(data)
        while left:
            part = connection.recv(min(left, 1 << 20))
            if not part:
                raise ConnectionError(f"the connection ended {left} bytes too early")
            left -= len(part)


def serve(host, port):
    with socket.create_server((host, port)) as server:
        print("ready", flush=True)
        for line in sys.stdin:
            connection, _ = server.accept()
            with connection:
                play(connection, "server", json.loads(line))
                connection.recv(1)
            print("done", flush=True)


def send(host, port):
    print("ready", flush=True)
    for line in sys.stdin:
        with socket.create_connection((host, port)) as connection:
            play(connection, "client", json.loads(line))
        print("done", flush=True)


command, host, port = sys.argv[1:]
(serve if command == "serve" else send)(host, int(port))
