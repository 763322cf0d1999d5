"""Sends the first segments of protocols, changed at random, over many connections. Arguments:

    serve FILE ADDRESS PORT...              answers each segment with another one, until the input ends
    send FILE ADDRESS COUNT SEED PORT...    opens COUNT connections

FILE has the recorded segments as hexadecimal digits, by protocol."""

import json
import random
import socket
import struct
import sys
import threading

SENDERS = 8
RESET = struct.pack("ii", 1, 0)


def segments_of(path):
    with open(path) as file:
        return [bytes.fromhex(text) for texts in json.load(file).values() for text in texts]


def change(segment, chance):
    """Returns what a connection sends: one byte changed, cut into one or two parts, or with two parts swapped."""
    kind, place = chance.randrange(4), chance.randrange(len(segment))
    if kind == 0:
        return [segment[:place] + bytes([chance.randrange(256)]) + segment[place + 1 :]]
    if kind == 1:
        return [segment[: place + 1]]
    if kind == 2:
        return [part for part in (segment[:place], segment[place:]) if part]
    return [segment[place:] + segment[:place]]


def send(path, address, count, seed, ports):
    segments = segments_of(path)
    sent = [0] * SENDERS
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
        file.write("1024 65535")

    def run(number):
        chance = random.Random(seed * SENDERS + number)
        for index in range(number, count, SENDERS):
            with socket.create_connection((address, ports[index % len(ports)])) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for part in change(segments[index // SENDERS % len(segments)], chance):
                    connection.sendall(part)
                    connection.recv(65536)
                # A reset leaves no connection that keeps its port.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sent[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(sent))


def serve(path, address, ports):
    segments = segments_of(path)

    def answer(connection, chance):
        with connection:
            try:
                while connection.recv(65536):
                    connection.sendall(change(chance.choice(segments), chance)[0])
            except ConnectionError:
                pass

    def accept(server, seed):
        chance = random.Random(seed)
        while True:
            threading.Thread(target=answer, args=(server.accept()[0], chance), daemon=True).start()

    for port in ports:
        server = socket.create_server((address, port), backlog=1024)
        threading.Thread(target=accept, args=(server, port), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


command, path, address, *rest = sys.argv[1:]
if command == "serve":
    serve(path, address, [int(port) for port in rest])
else:
    send(path, address, int(rest[0]), int(rest[1]), [int(port) for port in rest[2:]])
