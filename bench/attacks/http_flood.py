"""
Clients that send and take nothing: http_flood.py HOST PORT CONNECTIONS AHEAD ROUTE... Sends so many requests ahead for each route on a connection
of its own, opens so many connections that ask for the first route once each, says so, and holds what is left of them until its input ends.
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
        # Refused, closed, or its buffer is full: the bytes sent so far are enough.
        pass


def request(route: str) -> str:
    return f'GET {route} HTTP/1.1\r\nHost: localhost\r\n\r\n'


for route in routes:
    send(request(route) * ahead)
for _ in range(connections):
    send(request(routes[0]))
print('sent', flush=True)
sys.stdin.read()
