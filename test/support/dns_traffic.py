"""DNS servers and clients that count their own messages, as a reference for the probe `dns`."""

import json
import random
import select
import socket
import struct
import sys
import threading

TYPES = {'a': 1, 'ns': 2, 'cname': 5, 'soa': 6, 'ptr': 12, 'mx': 15, 'txt': 16, 'aaaa': 28, 'srv': 33, 'https': 65, 'other': 99}
RCODES = {
    'noerror': 0, 'formerr': 1, 'servfail': 2, 'nxdomain': 3, 'notimp': 4, 'refused': 5, 'yxdomain': 6, 'yxrrset': 7,
    'nxrrset': 8, 'notauth': 9, 'notzone': 10, 'other': 12,
}
NAMES_OF_TYPES = {number: name for name, number in TYPES.items()}
NAMES_OF_RCODES = {number: name for name, number in RCODES.items()}
TRUNCATED = 0x200


def encode(name):
    labels = [label.encode() for label in name.split('.') if label]
    return b''.join(bytes([len(label)]) + label for label in labels) + b'\0'


def query(number, name, qtype):
    return struct.pack('>6H', number, 0x100, 1, 0, 0, 0) + encode(name) + struct.pack('>2H', TYPES[qtype], 1)


def question_of(message):
    at = 12
    while message[at]:
        at += message[at] + 1
    if at + 5 > len(message):
        raise IndexError
    return message[12:at + 5]


class Counts:
    def __init__(self):
        self.counts = {'queries': {}, 'answers': {}, 'truncated': 0}
        self.lock = threading.Lock()

    def add(self, kind, name):
        with self.lock:
            self.counts[kind][name] = self.counts[kind].get(name, 0) + 1

    def add_query(self, message):
        at = 12 + len(question_of(message)) - 4
        self.add('queries', NAMES_OF_TYPES.get(struct.unpack('>H', message[at:at + 2])[0], 'other'))

    def add_answer(self, message):
        flags = struct.unpack('>H', message[2:4])[0]
        self.add('answers', NAMES_OF_RCODES.get(flags & 15, 'other'))
        if flags & TRUNCATED:
            with self.lock:
                self.counts['truncated'] += 1


def addresses(number, question, records, count=None):
    header = number + struct.pack('>5H', 0x8180, 1, len(records) if count is None else count, 0, 0)
    return header + question + b''.join(records)


def address(host, owner=b'\xc0\x0c', ttl=60):
    """Returns an A record with the address 10.20.x.y."""
    return owner + struct.pack('>2HIH', 1, 1, ttl, 4) + bytes([10, 20, host >> 8, host & 255])


def hostile_answers(kind, number, question):
    """Returns answers with addresses, of which only those from 10.20.0.0/24 are those of the name."""
    wrong = address(256)
    return {
        'unrelated': [addresses(number, question, [address(256, encode('victim.example')), address(1)])],
        'loop': [addresses(number, question, [address(256, b'\xc0' + bytes([12 + len(question)]))])],
        'forward': [addresses(number, question, [address(256, b'\xff\xff')])],
        'counts': [addresses(number, question, [wrong], 65_535)],
        'short': [addresses(number, question, [wrong])[:-2]],
        'long': [addresses(number, question, [b'\xc0\x0c' + struct.pack('>2HIH', 1, 1, 60, 16) + 16 * b'\x0a'])],
        'forged': [addresses(bytes([number[0], number[1] ^ 1]), question, [wrong]), addresses(number, question, [address(2)])],
        'late': [addresses(number, question, [address(3)]), addresses(number, question, [wrong])],
        'other': [addresses(number, encode('victim.example') + question[-4:], [wrong])],
        'forever': [addresses(number, question, [address(4, ttl=0xffffffff)])],
        'never': [addresses(number, question, [address(5, ttl=0)])],
        'many': [addresses(number, question, [address(host) for host in range(100)])],
    }.get(kind, [])


def answers_to(message):
    """Returns the answers that the first label of the name asks for."""
    if message[4:6] != b'\0\1':
        return []
    question = question_of(message)
    first = question[1:1 + question[0]].decode('latin1').lower()
    number = message[:2]
    if first.startswith('hostile-'):
        return hostile_answers(first.removeprefix('hostile-'), number, question)
    if first.startswith('host'):
        return [addresses(number, question, [address(int(first[4:]))])]
    if first in RCODES:
        return [number + struct.pack('>5H', 0x8180 | RCODES[first], 1, 0, 0, 0) + question]
    if first == 'truncated':
        return [number + struct.pack('>5H', 0x8180 | TRUNCATED, 1, 0, 0, 0) + question]
    if first == 'bare':
        return [number + struct.pack('>5H', 0x8181, 0, 0, 0, 0)]
    if first == 'twice':
        return 2 * [number + struct.pack('>5H', 0x8180, 1, 0, 0, 0) + question]
    if first == 'wrong':
        return [number + struct.pack('>5H', 0x8180, 1, 0, 0, 0) + encode('another.name') + question[-4:]]
    if first == 'large':
        record = b'\xc0\x0c' + struct.pack('>2HIH', 16, 1, 60, 1025) + b'\xff' + 1024 * b'x'
        return [number + struct.pack('>5H', 0x8180, 1, 3, 0, 0) + question + 3 * record]
    return []


def serve(address, is_deferred):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    counts = Counts()
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    udp.bind((address, 53))
    tcp = socket.socket(family, socket.SOCK_STREAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind((address, 53))
    if is_deferred:  # the first query arrives on the listening socket
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
    tcp.listen(64)
    print('ready', flush=True)
    connections, buffers = {}, {}
    while True:
        readable, _, _ = select.select([udp, tcp, sys.stdin, *connections.values()], [], [])
        for one in readable:
            if one is sys.stdin:
                continue
            if one is udp:
                message, peer = udp.recvfrom(65_536)
                if len(message) < 17:
                    continue
                try:
                    counts.add_query(message)
                except (IndexError, struct.error):
                    continue
                for answer in answers_to(message):
                    udp.sendto(answer, peer)
                    counts.add_answer(answer)
            elif one is tcp:
                connection, _ = tcp.accept()
                connections[connection.fileno()] = connection
                buffers[connection.fileno()] = b''
            else:
                data = one.recv(65_536)
                key = one.fileno()
                if not data:
                    del connections[key]
                    one.close()
                    continue
                buffers[key] += data
                replies = b''
                while len(buffers[key]) >= 2:
                    length = struct.unpack('>H', buffers[key][:2])[0]
                    if len(buffers[key]) < 2 + length:
                        break
                    message, buffers[key] = buffers[key][2:2 + length], buffers[key][2 + length:]
                    counts.add_query(message)
                    for answer in answers_to(message):
                        replies += struct.pack('>H', len(answer)) + answer
                        counts.add_answer(answer)
                one.sendall(replies)
        if sys.stdin in readable and len(readable) == 1:
            print(json.dumps(counts.counts), flush=True)
            return


def expected_answers(name):
    first = name.split('.')[0].lower()
    return 0 if first == 'silent' else 2 if first in ('twice', 'hostile-forged', 'hostile-late') else 1


def ask_udp(server, asks, style, counts):
    family = socket.AF_INET6 if ':' in server else socket.AF_INET
    shared = socket.socket(family, socket.SOCK_DGRAM)
    number = random.randrange(1 << 15)
    for name, qtype, count in asks:
        for _ in range(count):
            one = socket.socket(family, socket.SOCK_DGRAM) if style == 'each' else shared
            if style != 'unconnected':
                one.connect((server, 53))
            one.settimeout(5)
            number += 1
            message = query(number & 0xffff, name, qtype)
            one.sendto(message, (server, 53)) if style == 'unconnected' else one.send(message)
            counts.add_query(message)
            for _ in range(expected_answers(name)):
                counts.add_answer(one.recv(65_536))


def ask_tcp(server, asks, style, counts):
    family = socket.AF_INET6 if ':' in server else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    one.connect((server, 53))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received, number = b'', random.randrange(1 << 15)

    def receive(expected):
        nonlocal received
        while expected:
            if len(received) >= 2 and len(received) >= 2 + struct.unpack('>H', received[:2])[0]:
                length = struct.unpack('>H', received[:2])[0]
                counts.add_answer(received[2:2 + length])
                received = received[2 + length:]
                expected -= 1
                continue
            data = one.recv(65_536)
            if not data:
                raise EOFError
            received += data

    for name, qtype, count in asks:
        messages = []
        for _ in range(count):
            number += 1
            message = query(number & 0xffff, name, qtype)
            counts.add_query(message)
            messages.append(struct.pack('>H', len(message)) + message)
        if style == 'pipelined':
            one.sendall(b''.join(messages))
            receive(count * expected_answers(name))
            continue
        for message in messages:
            if style == 'pieces':
                for at in range(len(message)):
                    one.sendall(message[at:at + 1])
            else:
                one.sendall(message)
            receive(expected_answers(name))


def ask(server, protocol, style, asks):
    counts = Counts()
    (ask_udp if protocol == 'udp' else ask_tcp)(server, asks, style, counts)
    print(json.dumps(counts.counts))


def junk(server, count, seed):
    """Sends packets to port 53 that are no queries, none of which a server answers."""
    family = socket.AF_INET6 if ':' in server else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    chance = random.Random(seed)
    whole = query(7, 'noerror.example.com', 'a')
    for index in range(count):
        kind = index % 4
        if kind == 0:  # random bytes; at most 16, so that they are never a header with a question
            message = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 17)))
        elif kind == 1:  # cut
            message = whole[:chance.randrange(1, len(whole) - 1)]
        elif kind == 2:  # compression loop
            message = whole[:12] + b'\xc0\x0c' + struct.pack('>2H', 1, 1)
        else:  # more than one question, or a name that is too long
            long = 10 * (b'\x3f' + 63 * b'a') + b'\0'
            message = whole[:4] + chance.choice([b'\0\2', b'\xff\xff']) + whole[6:]
            if index % 8 == 3:
                message = whole[:12] + long + struct.pack('>2H', 1, 1)
        one.sendto(message, (server, 53))


if sys.argv[1] == 'serve':
    serve(sys.argv[2], sys.argv[3:] == ['deferred'])
elif sys.argv[1] == 'ask':
    ask(sys.argv[2], sys.argv[3], sys.argv[4], json.loads(sys.argv[5]))
else:
    junk(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
