"""
Sends HTTP/1.1 requests, and answers them. Prints the numbers of requests by method and status as JSON.

  load HOST PORT COUNT DEPTH CONNECTIONS whole|pieces
                   sends COUNT requests of many kinds on CONNECTIONS connections, DEPTH of them at a time on each, and reads
                   all responses. `pieces` splits what is sent into pieces of 1 to 1,000 bytes.
  serve HOST PORT  answers requests in ways that depend on the path, until the standard input ends, after printing `ready`
  talk HOST PORT   requests each of these paths
  send HOST PORT REQUESTS
                   sends requests one after the other on a connection, and reads each response. REQUESTS is a JSON array of
                   {"path", "headers", "cuts"}: the lines of the headers, and where to split what is sent into segments.
  burst HOST PORT COUNT
                   sends COUNT requests at once, and reads all responses
  resume HOST PORT COUNT
                   sends a request and prints `ready`. When the standard input ends, sends COUNT further requests on the same
                   connection.
  hold HOST PORT PATH COUNT
                   sends a request on each of COUNT connections, prints `ready`, and closes the connections when the
                   standard input ends
  noise HOST PORT COUNT SEED
                   sends random bytes, and text that resembles HTTP, on COUNT connections
  stray HOST PORT  answers two requests with three responses, until the standard input ends, after printing `ready`
  pair HOST PORT   sends two requests at once, and reads until the connection ends
  discard HOST PORT
                   reads what it receives, and answers with random bytes, until the standard input ends
"""

import collections
import json
import random
import socket
import sys
import threading
import time

PATHS = {
    "GET": ["/small", "/small", "/moved", "/missing", "/error", "/zipped.html", "/empty", "/large"],
    "HEAD": ["/small", "/large"],
    "POST": ["/answer"],
    "PUT": ["/answer"],
    "DELETE": ["/answer"],
    "PATCH": ["/answer"],
    "OPTIONS": ["/answer"],
}
# Looks like requests.
DECOY = b"GET /decoy HTTP/1.1\r\nHost: decoy\r\n\r\n"
# Header of the PROXY protocol, version 2, with IPv4 addresses.
PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)
counts = collections.Counter()
lock = threading.Lock()


def connect(host, port):
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def body_of(chance):
    if chance.random() < 0.5:
        return DECOY * chance.randrange(1, 20)
    return bytes(chance.randrange(256) for _ in range(chance.choice((0, 5, 100))))


def request(chance, host):
    method = chance.choice(list(PATHS))
    lines = [
        f"{method} {chance.choice(PATHS[method])} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {'x' * chance.randrange(200)}",
        "Accept-Encoding: gzip",
    ]
    body = b""
    if method in ("POST", "PUT", "PATCH"):
        body = body_of(chance)
        if method == "POST" and chance.random() < 0.3:
            lines.append("Transfer-Encoding: chunked")
            parts = [body[at : at + 7] for at in range(0, len(body), 7)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        else:
            lines.append(f"content-length:{' ' * chance.randrange(3)}{len(body)}")
    return method, "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read_headers(file):
    length, chunked = 0, False
    while line := file.readline().strip().lower():
        if line.startswith(b"content-length:"):
            length = int(line[15:])
        if line.startswith(b"transfer-encoding:"):
            chunked = True
    return length, chunked


def read_response(file, method):
    status = int(file.readline().split()[1])
    length, chunked = read_headers(file)
    if method == "HEAD" or status in (204, 304):
        return status
    while chunked and (size := int(file.readline(), 16)):
        file.read(size + 2)
    file.readline() if chunked else file.read(length)
    return status


def send_pieces(connection, data, chance):
    at = 0
    while at < len(data):
        end = at + chance.choice((1, 3, 11, 40, 200, 1000))
        connection.sendall(data[at:end])
        at = end


def load_one(host, port, count, depth, pieces, seed):
    chance = random.Random(seed)
    seen = collections.Counter()
    with connect(host, port) as connection, connection.makefile("rb", 65536) as file:
        for first in range(0, count, depth):
            requests = [request(chance, host) for _ in range(min(depth, count - first))]
            data = b"".join(text for _, text in requests)
            send_pieces(connection, data, chance) if pieces else connection.sendall(data)
            for method, _ in requests:
                seen[f"{method} {read_response(file, method)}"] += 1
    with lock:
        counts.update(seen)


def load(host, port, count, depth, connections, style):
    each = count // connections
    threads = [
        threading.Thread(target=load_one, args=(host, port, each, depth, style == "pieces", seed + depth))
        for seed in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(counts))


def reply(connection, status, body=b"", headers=""):
    connection.sendall(
        f"HTTP/1.1 {status} Text\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
    )


def answer(connection, file, method, path):
    """Answers a request. Returns whether the connection stays open."""
    if path == "/hints":
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        reply(connection, 200)
    elif path == "/continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        file.read(5)
        reply(connection, 201)
    elif path == "/slow":
        time.sleep(0.4)
        reply(connection, 200)
    elif path == "/streamed":
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            connection.sendall(b"%x\r\n%s\r\n" % (len(DECOY), DECOY))
            time.sleep(0.02)
        connection.sendall(b"0\r\n\r\n")
    elif path == "/unmodified":
        connection.sendall(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n")
    elif path == "/until-end":
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"HTTP/1.1 500 Decoy\r\n\r\n" * 3)
        return False
    elif path == "/late":
        connection.sendall(b"HTTP/1.")
        time.sleep(0.05)
        connection.sendall(b"1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    elif path == "/socket" or method == "CONNECT":
        connection.sendall(b"HTTP/1.1 %s OK\r\n\r\n" % (b"200" if method == "CONNECT" else b"101"))
        while connection.recv(1000):
            connection.sendall(b"HTTP/1.1 200 Decoy\r\nContent-Length: 0\r\n\r\n")
        return False
    elif path == "/die":
        return False
    elif path == "/hang":
        file.read(1)
        return False
    elif path.startswith("/error"):
        reply(connection, 503)
    else:
        reply(connection, 200, b"HTTP/1.1 500 Decoy\r\n\r\n")
    return True


def serve_one(connection):
    with connection, connection.makefile("rb") as file:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if file.peek(1).startswith(b"\r"):
            file.read(len(PROXY_2))
        while words := file.readline().split():
            if words[0] == b"PROXY":
                continue
            length, _ = read_headers(file)
            if words[1] != b"/continue":
                file.read(length)
            if not answer(connection, file, words[0].decode(), words[1].decode()):
                return


def listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, port), family=family, backlog=128)
    print("ready", flush=True)
    return server


def serve_all(host, port, handle):
    server = listen(host, port)

    def accept():
        while True:
            connection, _ = server.accept()
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


def discard_one(connection):
    chance = random.Random(1)
    with connection:
        while connection.recv(65536):
            connection.sendall(bytes(chance.randrange(256) for _ in range(chance.randrange(1, 500))))


def stray_one(connection):
    with connection:
        text = b""
        while text.count(DECOY) < 2:
            text += connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 3)


def send_pair(host, port):
    with connect(host, port) as connection:
        connection.sendall(DECOY * 2)
        while connection.recv(1000):
            pass


def exchange(host, port, *requests, prefix=b"", header=""):
    """Sends the requests one after the other on a connection, and reads each response."""
    with connect(host, port) as connection, connection.makefile("rb") as file:
        for line in requests:
            method, path = line.split()[:2]
            body = line.split()[2:] and line.split()[2].encode() or b""
            expects = "Expect: 100-continue\r\n" if path == "/continue" else ""
            head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{header}Content-Length: {len(body)}\r\n{expects}\r\n"
            connection.sendall(prefix + head.encode() + (b"" if expects else body))
            prefix = b""
            if expects:
                file.readline()
                read_headers(file)
                connection.sendall(body)
            status = 103
            while 101 < status < 200:
                first = file.readline()
                if not first:
                    return
                status = int(first.split()[1])
                length, chunked = read_headers(file)
            if status == 101 or method == "CONNECT":
                for _ in range(5):
                    connection.sendall(DECOY)
                    connection.recv(1000)
                return
            if first.startswith(b"HTTP/1.0"):
                file.read()
                return
            while chunked and (size := int(file.readline(), 16)):
                file.read(size + 2)
            if chunked:
                file.readline()
            elif method != "HEAD" and status not in (204, 304):
                file.read(length)


def talk(host, port):
    exchange(host, port, "GET /hints", "GET /hints", "PUT /continue hello", "GET /plain")
    exchange(host, port, "GET /streamed", "GET /unmodified", "GET /streamed", "HEAD /plain", "GET /late", "GET /plain")
    exchange(host, port, "GET /until-end")
    exchange(host, port, "GET /socket")
    exchange(host, port, "CONNECT peer:443")
    exchange(host, port, "TRACE /plain", "PROPFIND /plain")
    exchange(host, port, "PROPFIND /plain", "GET /plain")
    exchange(host, port, "PURGE /plain", "MKCOL /plain")
    exchange(host, port, "MKREDIRECTREF /plain", "X-CUSTOM_METHOD /plain")
    exchange(host, port, "GET /plain", "GET /slow")
    exchange(host, port, "GET /error")
    exchange(host, port, "GET /die")
    exchange(host, port, "GET /plain", prefix=b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n")
    exchange(host, port, "GET /plain", prefix=PROXY_2)
    exchange(host, port, "GET /plain", "GET /plain", header=f"Cookie: {'x' * 60_000}\r\n")


def send(host, port, requests):
    with connect(host, port) as connection, connection.makefile("rb") as file:
        for each in json.loads(requests):
            lines = [f"GET {each['path']} HTTP/1.1", f"Host: {host}", *each["headers"]]
            data = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
            cuts = [0, *each.get("cuts", []), len(data)]
            for start, end in zip(cuts, cuts[1:]):
                connection.sendall(data[start:end])
                time.sleep(0.002)
            read_response(file, "GET")


def read_plain(file, count):
    for _ in range(count):
        assert read_response(file, "GET") == 200


def burst(host, port, count):
    with connect(host, port) as connection, connection.makefile("rb") as file:
        connection.sendall(DECOY * count)
        read_plain(file, count)


def resume(host, port, count):
    with connect(host, port) as connection, connection.makefile("rb") as file:
        connection.sendall(DECOY)
        read_plain(file, 1)
        print("ready", flush=True)
        sys.stdin.read()
        for _ in range(count):
            connection.sendall(DECOY)
            read_plain(file, 1)


def hold(host, port, path, count):
    connections = [connect(host, port) for _ in range(count)]
    for connection in connections:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    print("ready", flush=True)
    sys.stdin.read()


def noise(host, port, count, seed):
    chance = random.Random(seed)
    texts = [
        b"OPTIONS sip:peer SIP/2.0\r\nVia: SIP/2.0/TCP host\r\n\r\n",
        b"GET key\r\n",
        b"GET /old\r\n",
        b"PUT 10 200 30 5\r\nhello\r\n",
        b"FETCH /old OTHER/1.1\r\n\r\n",
        b"FETCH old HTTP/1.1\r\n\r\n",
        b"OPTIONS rtsp://peer/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
    ]
    for index in range(count):
        with connect(host, port) as connection:
            for _ in range(3):
                text = texts[index % len(texts)] if index % 2 else b""
                octets = text or bytes(chance.randrange(256) for _ in range(chance.choice((1, 7, 100, 3000))))
                connection.sendall(octets)
                connection.recv(65536)


def main(command, host, port, *rest):
    port = int(port)
    if command == "load":
        load(host, port, *map(int, rest[:3]), rest[3])
    elif command == "serve":
        serve_all(host, port, serve_one)
    elif command == "discard":
        serve_all(host, port, discard_one)
    elif command == "stray":
        serve_all(host, port, stray_one)
    elif command == "pair":
        send_pair(host, port)
    elif command == "talk":
        talk(host, port)
    elif command == "send":
        send(host, port, rest[0])
    elif command == "burst":
        burst(host, port, int(rest[0]))
    elif command == "resume":
        resume(host, port, int(rest[0]))
    elif command == "hold":
        hold(host, port, rest[0], int(rest[1]))
    elif command == "noise":
        noise(host, port, int(rest[0]), int(rest[1]))


main(*sys.argv[1:])
