"""Opens connections as fast as it can, each with a request whose header never ends. Arguments:

    serve ADDRESS PORT                reads all connections until the input ends
    send ADDRESS PORT BYTES COUNT SECONDS
                                      opens COUNT connections with headers of BYTES bytes, or as many as it can within
                                      SECONDS, and prints how many it opened"""

import multiprocessing
import select
import socket
import struct
import sys
import time

SENDERS = 4
RESET = struct.pack("ii", 1, 0)


def send(address, port, size, count, seconds):
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
        file.write("1024 65535")
    header = b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: b\r\nX-Long: " + b"x" * size
    end = time.monotonic() + seconds

    def run(number):
        opened = 0
        for _ in range(number, count, SENDERS):
            if time.monotonic() > end:
                break
            with socket.socket() as connection:
                connection.settimeout(20)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                try:
                    connection.connect((address, port))
                    opened += 1
                    connection.sendall(header)
                except OSError:
                    pass
        results.put(opened)

    results = multiprocessing.SimpleQueue()
    processes = [multiprocessing.Process(target=run, args=(number,)) for number in range(SENDERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(sum(results.get() for _ in processes))


def serve(address, port):
    listener = socket.create_server((address, port), backlog=1024)
    listener.setblocking(False)
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    poller.register(sys.stdin, select.EPOLLIN)
    connections = {}
    print("ready", flush=True)
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == sys.stdin.fileno():
                return
            if descriptor == listener.fileno():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                connections[connection.fileno()] = connection
                poller.register(connection, select.EPOLLIN)
                continue
            try:
                ended = not connections[descriptor].recv(1 << 20)
            except OSError:
                ended = True
            if ended:
                connections.pop(descriptor).close()


command, address, port, *rest = sys.argv[1:]
if command == "serve":
    serve(address, int(port))
else:
    send(address, int(port), *map(int, rest))
