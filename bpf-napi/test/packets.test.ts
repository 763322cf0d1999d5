import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { acceptAll, netnsCookie, PacketFilter, PacketRing } from '../lib/index.ts';
import { TestNamespace } from './support/namespace.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { COOKED_BYTES, type PacketBlock, packetBlocks } from './support/packet_blocks.ts';

const MEBIBYTE = 1 << 20;
const SNAP = 4_096;
const PORT = 7_000;
/** IPv4 and UDP header. */
const HEADERS = 28;
const BUFFER = new Uint8Array(4 * MEBIBYTE);
const LOOPBACK = 1;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_IPV4 = 0x0800;

let namespace: TestNamespace;
beforeEach(() => {
  namespace = new TestNamespace();
  namespace.batch('link set lo up');
});
afterEach(() => namespace[Symbol.dispose]());

const open = (more: Partial<ConstructorParameters<typeof PacketRing>[0]> = {}) =>
  new PacketRing({
    netns: namespace.path,
    ringBytes: 8 * MEBIBYTE,
    retireMs: 10,
    program: acceptAll(SNAP),
    ...more,
  });

/** Sends datagrams of the given sizes, whose bytes are all the number of the datagram modulo 256. */
function send(sizes: readonly number[], target = '127.0.0.1', port = PORT): void {
  const script = `
import json, socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number, size in enumerate(json.load(sys.stdin)): sender.sendto(bytes([number % 256]) * size, ('${target}', ${port}))
`;
  execFileSync('ip', ['netns', 'exec', namespace.name, 'python3', '-c', script], { input: JSON.stringify(sizes) });
}

/** Sends a frame with a VLAN tag, which the kernel moves out of the packet when the frame arrives. */
function sendTagged(device: string, vlan: number, size: number): void {
  const script = `
import socket, struct
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(('${device}', 0))
ethernet = b'\\xff' * 6 + b'\\2' * 6 + struct.pack('>HHH', ${ETHERTYPE_VLAN}, ${vlan}, ${ETHERTYPE_IPV4})
header = struct.pack('>BBHHHBBH4s4s', 0x45, 0, ${HEADERS} + ${size}, 0, 0, 64, 17, 0, bytes(4), bytes(4))
sender.send(ethernet + header + bytes(${HEADERS} - 20 + ${size}))
`;
  execFileSync('ip', ['netns', 'exec', namespace.name, 'python3', '-c', script]);
}

/** Stops the ring and returns all packets that it has received. */
async function packetsOf(ring: PacketRing, interfaceOf = (device: number) => device): Promise<PacketBlock[]> {
  ring.stop();
  const { received, dropped } = ring.counts();
  const blocks: PacketBlock[] = [];
  await vi.waitFor(() => {
    const { bytes } = ring.read(BUFFER, Number.MAX_SAFE_INTEGER, interfaceOf);
    blocks.push(...packetBlocks(BUFFER.subarray(0, bytes)));
    expect(blocks).toHaveLength(received - dropped);
  });
  return blocks;
}

const isUdp = ({ bytes }: PacketBlock) => bytes[9] === 17;
/** Leaves out the errors with which the kernel answers datagrams. */
const onlyUdp = () => new PacketFilter('udp', SNAP).kernelProgram;

describe('a packet ring', () => {
  expectNothingLeft();

  it('receives each packet of its namespace once, with the bytes that were sent', async () => {
    const home = netnsCookie();
    const sizes = Array.from({ length: 400 }, (_, number) => number * 7);
    using ring = open();
    expect(netnsCookie()).toBe(home);
    const before = BigInt(Date.now()) * 1_000_000n;
    send(sizes);
    const packets = (await packetsOf(ring)).filter(isUdp);
    const after = BigInt(Date.now() + 1) * 1_000_000n;
    expect(packets.map(({ length }) => length - HEADERS)).toEqual(sizes);
    packets.forEach(({ bytes, timeNs, interface: id }, number) => {
      expect(bytes.subarray(HEADERS)).toEqual(Buffer.alloc(sizes[number] ?? 0, number));
      expect(id).toBe(LOOPBACK);
      expect(timeNs >= before && timeNs <= after).toBe(true);
    });
  });

  it('cuts packets at the snap length, and keeps the original length', async () => {
    using ring = open({ program: acceptAll(100) });
    send([50, 1_000]);
    const packets = (await packetsOf(ring)).filter(isUdp);
    expect(packets.map(({ bytes, length }) => [bytes.length, length])).toEqual([
      [50 + HEADERS, 50 + HEADERS],
      [100, 1_000 + HEADERS],
    ]);
  });

  it('continues where a full target or the limit of packets ended a read', async () => {
    using ring = open({ program: onlyUdp() });
    send(Array.from({ length: 10 }, () => 1_000));
    ring.stop();
    const devices: number[] = [];
    const read = (target: Uint8Array, most: number) => {
      const { bytes, packets, empty } = ring.read(target, most, (device) => devices.push(device));
      return [
        ...packetBlocks(target.subarray(0, bytes)).map((block) => [block.bytes[HEADERS], block.interface]),
        packets,
        empty,
      ];
    };
    await vi.waitFor(() => expect(read(BUFFER, 3)).toEqual([[0, 1], [1, 1], [2, 1], 3, false]));
    expect(read(BUFFER.subarray(0, 2_500), 100)).toEqual([[3, 1], [4, 1], 2, false]);
    expect(read(BUFFER.subarray(0, 10), 100)).toEqual([0, false]);
    expect(read(BUFFER, 100)).toEqual([[5, 1], [6, 1], [7, 1], [8, 1], [9, 1], 5, true]);
    expect(devices).toEqual([LOOPBACK]);
    expect(ring.deviceName(LOOPBACK)).toBe('lo');
  });

  it('keeps the packets that its function for devices refuses', async () => {
    using ring = open();
    send([1]);
    ring.stop();
    const refuse = () => {
      throw new Error('no more interfaces');
    };
    await vi.waitFor(() => expect(() => ring.read(BUFFER, 1, refuse)).toThrow('no more interfaces'));
    expect(ring.read(BUFFER, 1, () => 0).packets).toBe(1);
  });

  it('counts exactly what did not fit', async () => {
    const sent = 4_000;
    using ring = open({ ringBytes: 2 * MEBIBYTE, program: onlyUdp() });
    send(Array.from({ length: sent }, () => 1_400));
    const packets = await packetsOf(ring);
    const { received, dropped } = ring.counts();
    expect(received).toBe(sent);
    expect(dropped).toBeGreaterThan(0);
    expect(packets).toHaveLength(sent - dropped);
  });

  it('wakes the event loop, and receives nothing after the stop', async () => {
    using ring = open({ program: onlyUdp() });
    const woken = vi.fn(() => ring.unwatch());
    ring.watch(woken);
    send([1]);
    await vi.waitFor(() => expect(woken).toHaveBeenCalledOnce());
    ring.stop();
    send([2, 3]);
    expect(ring.counts().received).toBe(1);
  });

  it('receives only what its filter accepts', async () => {
    const filter = new PacketFilter(`udp dst port ${PORT + 1} and greater 40`, SNAP);
    using ring = open({ program: filter.kernelProgram });
    send([100, 100], '127.0.0.1', PORT);
    send([1, 60], '127.0.0.1', PORT + 1);
    const packets = await packetsOf(ring);
    expect(packets.map(({ length }) => length - HEADERS)).toEqual([60]);
    expect(ring.counts()).toEqual({ received: 1, dropped: 0 });
    const [packet] = packets as [PacketBlock];
    expect(filter.matches(Buffer.concat([packet.cooked, packet.bytes]), packet.length + COOKED_BYTES)).toBe(true);
    packet.bytes[23] = 0;
    expect(filter.matches(Buffer.concat([packet.cooked, packet.bytes]), packet.length + COOKED_BYTES)).toBe(false);
  });

  it('filters by direction, device and protocol, which the kernel stores outside of the packet', async () => {
    namespace.batch(`link add near type veth peer name far
      link set near address 02:00:00:00:00:01 up
      link set far up
      address add 10.1.0.1/24 dev near
      neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev near`);
    const directions = ['outbound', 'inbound', 'ip and outbound', 'arp'];
    const rings = directions.map((text) =>
      open({ program: new PacketFilter(`${text} and not ip6`, SNAP).kernelProgram }),
    );
    send([10], '10.1.0.2');
    const seen = await Promise.all(rings.map(async (ring) => (await packetsOf(ring)).map(({ cooked }) => cooked[10])));
    for (const ring of rings) ring.close();
    // The packet leaves through `near`, and arrives at `far` for another host.
    expect(seen).toEqual([[4], [3], [4], []]);
  });

  it('puts the tag of a VLAN back', async () => {
    namespace.batch(`link add near type veth peer name far
      link set far up
      link set near up`);
    using ring = open();
    sendTagged('near', 7, 10);
    const isTagged = ({ cooked }: PacketBlock) => cooked.readUInt16BE(0) === ETHERTYPE_VLAN;
    const tagged = (await packetsOf(ring)).filter(
      (block) => isTagged(block) && block.bytes.readUInt16BE(2) === ETHERTYPE_IPV4,
    );
    // Broadcast: the packet leaves through `near`, and arrives at `far`.
    expect(tagged.map(({ cooked }) => cooked[10])).toEqual([4, 1]);
    for (const { bytes, length } of tagged) {
      expect(bytes.readUInt16BE(0)).toBe(7);
      expect(bytes.subarray(4 + HEADERS)).toEqual(Buffer.alloc(10, 0));
      expect(length).toBe(4 + HEADERS + 10);
    }
  });

  it('reports why it cannot be opened, and refuses calls after it was closed', () => {
    expect(() => open({ netns: '/run/netns/bpf-napi-none' })).toThrow(
      expect.objectContaining({ code: 'NETNS', errno: 2 }),
    );
    expect(() => open({ netns: '/proc/self/ns/mnt' })).toThrow(expect.objectContaining({ code: 'NETNS', errno: 22 }));
    expect(() => open({ program: new Uint8Array(8).fill(0xff) })).toThrow(
      expect.objectContaining({ code: 'PACKETS', errno: 22, subject: 'filter' }),
    );
    const ring = open();
    ring.close();
    ring.close();
    expect(() => ring.counts()).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
  });
});

describe('a filter', () => {
  it('reports the words of libpcap', () => {
    const words = (expression: string) => {
      try {
        new PacketFilter(expression, SNAP);
      } catch (error) {
        const { code, message } = error as { code: string; message: string };
        return [code, message];
      }
      return [];
    };
    expect(words('udp prt 7')).toEqual(['FILTER', "can't parse filter expression: syntax error"]);
    expect(words('host no-such-host.invalid')).toEqual(['FILTER', expect.stringContaining('no-such-host.invalid')]);
    expect(words('link[2] = 1')).toEqual(['FILTER', expect.stringMatching(/./)]);
  });
});
