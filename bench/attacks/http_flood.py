"""
http_flood.py HOST PORT CONNECTIONS AHEAD ROUTE...

Sends requests and never reads the responses. Opens one connection per route and pipelines AHEAD requests on it, then opens CONNECTIONS more
connections, each of which requests the first route once. Prints `sent`, and keeps the connections open until stdin closes.
"""

import socket
import sys

host, port, connections, ahead, routes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]
held = []


def send(text: str) -> None:
    client = socket.socket()
    client.settimeout(10)
    held.append(client)
    try:
        client.connect((host, port))
        client.setblocking(False)
        client.send(text.encode())
    except OSError:
        # The agent refused or closed the connection, or the send buffer is full. Enough bytes have been sent by then.
        pass


def request(route: str) -> str:
    return f'GET {route} HTTP/1.1\r\nHost: localhost\r\n\r\n'


for route in routes:
    send(request(route) * ahead)
for _ in range(connections):
    send(request(routes[0]))
print('sent', flush=True)
sys.stdin.read()
