"""flow_churn.py HUB

Creates and removes network namespaces, each with TCP connections to a listener in the namespace HUB. Reads a JSON
object from each line, and writes a JSON object when the command is complete. Both ends of every connection are in this
process, so its own sums of the traffic are exact.
"""

import ctypes
import json
import os
import random
import socket
import struct
import subprocess
import sys

CLONE_NEWNET = 0x40000000
PORT = 7800
MOST_BYTES = 20_000
CONNECTIONS = (2, 5)
SO_NETNS_COOKIE = 71
ABORT = struct.pack('ii', 1, 0)
libc = ctypes.CDLL(None, use_errno=True)


def enter(name):
    handle = os.open(f'/run/netns/{name}', os.O_RDONLY)
    if libc.setns(handle, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f'setns to {name}')
    os.close(handle)


def ip(lines, *options):
    subprocess.run(['ip', *options, '-batch', '-'], input='\n'.join(lines), text=True, check=True)


def read_all(sock, count):
    while count > 0:
        data = sock.recv(count)
        if not data:
            raise AssertionError('the connection was closed early')
        count -= len(data)


class Pod:
    """A namespace with its open connections and the sums of its own side."""

    def __init__(self, name, net, host):
        self.name, self.address, self.gateway = name, f'10.{net}.{host}.2', f'10.{net}.{host}.1'
        self.pairs = []
        self.sums = {'connections': 0, 'sent': 0, 'received': 0}

    def exchange(self, client, server):
        sent, received = random.randint(1, MOST_BYTES), random.randint(0, MOST_BYTES)
        client.sendall(bytes(sent))
        read_all(server, sent)
        server.sendall(bytes(received))
        read_all(client, received)
        self.sums['sent'] += sent
        self.sums['received'] += received

    def connect(self):
        enter(self.name)
        client = socket.create_connection((self.gateway, PORT))
        server, _ = listener.accept()
        self.sums['connections'] += 1
        self.exchange(client, server)
        self.pairs.append((client, server))

    def close(self):
        """Closes a connection in one of several ways. After the last one, no data is missing at either end."""
        client, server = self.pairs.pop()
        first, second = random.sample([client, server], 2)
        if random.random() < 0.3:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        first.close()
        try:
            second.recv(1)
        except ConnectionResetError:
            pass
        second.close()

    def leave(self):
        """Closes both ends of all connections, as when their processes are killed. The server's end sends a reset."""
        for client, server in self.pairs:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            client.close()
            server.close()
        self.pairs.clear()


def cookie_of(name):
    enter(name)
    with socket.socket() as any_socket:
        return struct.unpack('Q', any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]


enter(sys.argv[1])
listener = socket.create_server(('0.0.0.0', PORT), backlog=64)
pods = {}


def make(names, net):
    """Creates namespaces. Returns their cookies."""
    batch = []
    for host, name in enumerate(names):
        pods[name] = Pod(name, net, host)
        batch.append(f'netns add {name}')
        batch.append(f'link add e0 netns {name} type veth peer name h{net}x{host} netns {sys.argv[1]}')
    ip(batch)
    ip(
        [
            line
            for host, name in enumerate(names)
            for line in (f'addr add {pods[name].gateway}/24 dev h{net}x{host}', f'link set h{net}x{host} up')
        ],
        '-n',
        sys.argv[1],
    )
    for name in names:
        ip([f'addr add {pods[name].address}/24 dev e0', 'link set e0 up'], '-n', name)
    cookies = [cookie_of(name) for name in names]
    enter(sys.argv[1])
    return cookies


def begin(names):
    """Opens connections in each namespace, and closes some of them."""
    for name in names:
        for _ in range(random.randint(*CONNECTIONS)):
            pods[name].connect()
        while random.random() < 0.5 and pods[name].pairs:
            pods[name].close()
    # Leaves the last namespace, which would otherwise stay alive after its removal.
    enter(sys.argv[1])


def end(names):
    """Ends the traffic of namespaces, and removes them."""
    for name in names:
        pod = pods[name]
        for client, server in pod.pairs:
            pod.exchange(client, server)
        while len(pod.pairs) > 1:
            pod.close()
        pod.leave()
    ip([f'netns del {name}' for name in names])
    return {name: pods.pop(name).sums for name in names}


COMMANDS = {'make': make, 'begin': begin, 'end': end}
try:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {'result': COMMANDS[request['call']](**request['args'])}
        except Exception as error:
            answer = {'error': f"{request['call']}: {type(error).__name__} {error}"}
        print(json.dumps(answer), flush=True)
finally:
    ip([f'netns del {name}' for name in pods])
