"""detour.py DEVICE MILLISECONDS PERCENT

Creates a TUN device that delays and loses packets: this percentage of the packets that are sent to the device is lost. Each other packet is held for this time, and then arrives on the same device. Prints a line when the device exists.

Kernel: Documentation/networking/tuntap.rst.
"""

import fcntl
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_MAX = 65536
HELD_MAX = 10_000

device, seconds, percent = sys.argv[1], float(sys.argv[2]) / 1000, float(sys.argv[3])
tunnel = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tunnel, TUNSETIFF, struct.pack('16sH22x', device.encode(), IFF_TUN | IFF_NO_PI))
print('ready', flush=True)
held = []
while True:
    left = max(0, held[0][0] - time.monotonic()) if held else None
    if select.select([tunnel], [], [], left)[0]:
        packet = os.read(tunnel, PACKET_MAX)
        if len(held) < HELD_MAX and 100 * random.random() >= percent:
            held.append((time.monotonic() + seconds, packet))
    while held and held[0][0] <= time.monotonic():
        os.write(tunnel, held.pop(0)[1])
