"""hold_packets.py QUEUE MILLISECONDS

Holds each packet of an NFQUEUE for this time before accepting it. Prints a line when it is ready.

Kernel: include/uapi/linux/netfilter/nfnetlink_queue.h.
"""

import select
import socket
import struct
import sys
import time

NETLINK_NETFILTER = 12
SUBSYSTEM = 3
MESSAGE_PACKET, MESSAGE_VERDICT, MESSAGE_CONFIG = 0, 1, 2
NLMSG_ERROR = 2
REQUEST, ACKNOWLEDGE = 1, 4
PACKET_HEADER, VERDICT_HEADER = 1, 2
CONFIG_COMMAND, CONFIG_PARAMETERS = 1, 2
BIND, COPY_META = 1, 1
ACCEPT = 1

queue, milliseconds = int(sys.argv[1]), float(sys.argv[2])
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
netlink.bind((0, 0))


def send(message, attribute, payload, flags=0):
    payload = struct.pack('=HH', 4 + len(payload), attribute) + payload
    payload += bytes(-len(payload) % 4)
    body = struct.pack('>BBH', 0, 0, queue) + payload
    netlink.send(struct.pack('=IHHII', 16 + len(body), SUBSYSTEM << 8 | message, REQUEST | flags, 0, 0) + body)


def configure(attribute, payload):
    send(MESSAGE_CONFIG, attribute, payload, ACKNOWLEDGE)
    answer = netlink.recv(65536)
    kind, error = struct.unpack_from('=H', answer, 4)[0], struct.unpack_from('=i', answer, 16)[0]
    if kind != NLMSG_ERROR or error != 0:
        sys.exit(f'cannot open the queue: {error}')


def packets(data):
    """Yields the packet IDs in a message from the kernel."""
    while len(data) >= 16:
        length, kind = struct.unpack_from('=IH', data)
        attributes, data = data[20:length], data[(length + 3) & ~3 :]
        if kind != SUBSYSTEM << 8 | MESSAGE_PACKET:
            continue
        while len(attributes) >= 4:
            size, attribute = struct.unpack_from('=HH', attributes)
            if attribute & 0x3FFF == PACKET_HEADER:
                yield struct.unpack_from('>I', attributes, 4)[0]
            attributes = attributes[(size + 3) & ~3 :]


configure(CONFIG_COMMAND, struct.pack('>BBH', BIND, 0, 0))
configure(CONFIG_PARAMETERS, struct.pack('>IB', 0, COPY_META))
print('ready', flush=True)
held = []
while True:
    left = max(0, held[0][0] - time.monotonic()) if held else None
    if select.select([netlink], [], [], left)[0]:
        until = time.monotonic() + milliseconds / 1000
        held += [(until, number) for number in packets(netlink.recv(65536))]
    while held and held[0][0] <= time.monotonic():
        send(MESSAGE_VERDICT, VERDICT_HEADER, struct.pack('>II', ACCEPT, held.pop(0)[1]))
