import { execFileSync } from 'node:child_process';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { DeviceRows } from '#sources/devices/rows.ts';
import { type DeviceColumn, parseNetDev } from '#sources/procfs/net_dev.ts';
import type { KernelWalk } from '#sources/walk_source.ts';
import type { TestNetns } from './hosts.ts';
import { readBoth } from './oracle.ts';

export const COLUMNS: readonly DeviceColumn[] = [
  'receivedBytes',
  'receivedPackets',
  'receivedErrors',
  'receivedDrops',
  'receivedFifo',
  'receivedFrame',
  'receivedMulticast',
  'sentBytes',
  'sentPackets',
  'sentErrors',
  'sentDrops',
  'sentFifo',
  'collisions',
  'sentCarrier',
];

/** Counters by device name, in the order of COLUMNS. */
export type Counts = Record<string, readonly unknown[]>;

/**
 * Arguments of `ip link add` for a device of each kind. Stacked devices are on the veth devices `low` and `low2`, whose
 * peers are `far` and `far2`.
 */
const LINES = [
  'low type veth peer name far',
  'low2 type veth peer name far2',
  'bridge type bridge',
  'dummy type dummy',
  'ifb type ifb',
  'vlan link low type vlan id 7',
  'macvlan link low type macvlan mode bridge',
  'macvtap link low type macvtap mode bridge',
  'ipvlan link low2 type ipvlan mode l2',
  'ipvtap link low2 type ipvtap mode l2',
  'vxlan type vxlan id 77 dstport 4790 remote 127.0.0.2 dev lo',
  'geneve type geneve id 5 remote 127.0.0.2',
  'wireguard type wireguard',
  'ipip type ipip local 127.0.0.1 remote 127.0.0.2',
  'gre type gre local 127.0.0.1 remote 127.0.0.2',
  'gretap type gretap local 127.0.0.1 remote 127.0.0.2',
  'erspan type erspan local 127.0.0.1 remote 127.0.0.2 seq key 5 erspan_ver 1 erspan 9',
  'sit type sit local 127.0.0.1 remote 127.0.0.2',
  'vti type vti local 127.0.0.1 remote 127.0.0.2 key 5',
  'vti6 type vti6 local ::1 remote ::2 key 5',
  'ip6tnl type ip6tnl local ::1 remote ::2',
  'ip6gre type ip6gre local ::1 remote ::2',
  'ip6gretap type ip6gretap local ::1 remote ::2',
  'xfrm type xfrm dev lo if_id 5',
  'netkit type netkit',
  'bond type bond',
  'vrf type vrf table 10',
];

/** Creates and sets up a device of each kind that this kernel supports. @returns the names of the devices */
export function makeKinds(netns: TestNetns): string[] {
  const made: string[] = [];
  const attempt = (name: string, line: string) => {
    try {
      netns.ip(line);
      made.push(name);
    } catch (error) {
      // The kernel does not support the kind, or /dev/net/tun does not exist.
      if (!/Unknown device type|Operation not supported|does not exist|No such file/.test((error as Error).message))
        throw error;
    }
  };
  for (const line of LINES) attempt(line.split(' ', 1)[0] ?? '', `link add name ${line}`);
  attempt('tap', 'tuntap add name tap mode tap');
  attempt('tun', 'tuntap add name tun mode tun');
  netns.ip('link set lo up mtu 1500');
  for (const name of ['far', 'far2', ...made]) netns.ip(`link set dev ${name} up`);
  return made;
}

/**
 * Sends frames directly to the driver of each device. The number and size of the frames differ by device. Some frames
 * arrive, some are dropped, some are too long, and some have no route.
 */
const FRAMES = `
import socket
skip = ('lo',)
frames = 0
for index, name in sorted(socket.if_nameindex()):
    if name in skip: continue
    with open(f'/sys/class/net/{name}/type') as file: ethernet = int(file.read()) == 1
    packet = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 9, 0, 9, 0, 20, 0, 0]) + bytes(12)
    packet6 = bytes([0x60, 0, 0, 0, 0, 8, 17, 64]) + bytes(15) + b'\\x01' + bytes(15) + b'\\x02' + bytes(8)
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW if ethernet else socket.SOCK_DGRAM, 0)
    for n in range(3 + index % 5):
        for kind, payload in ((0x0800, packet), (0x86dd, packet6), (0x8100, b'\\x00\\x07\\x08\\x00' + packet)):
            if not ethernet and kind == 0x8100: continue
            try:
                if ethernet:
                    sender.sendto(b'\\xff' * 6 + b'\\x02' * 6 + kind.to_bytes(2, 'big') + payload + bytes(n), (name, kind))
                else:
                    sender.sendto(payload, (name, kind, 0, 0, b'\\x7f\\0\\0\\x02'))
                frames += 1
            except OSError:
                pass
    sender.close()
print(frames)
`;

/** @returns the number of frames that the devices accepted */
export function sendFrames(netns: TestNetns): number {
  return Number(netns.python(FRAMES));
}

function fromFile(netns: TestNetns): Counts {
  const malformed = (what: string) => {
    throw new Error(what);
  };
  // A device name may contain any bytes, so the text is decoded as Latin-1.
  const text = execFileSync('ip', ['netns', 'exec', netns.name, 'cat', '/proc/net/dev'], { encoding: 'latin1' });
  const devices = parseNetDev(text, malformed);
  return Object.fromEntries([...devices].map(([name, stats]) => [name, COLUMNS.map((column) => stats[column])]));
}

interface Link {
  readonly ifname: string;
  readonly stats64: Readonly<Record<'rx' | 'tx', Readonly<Record<string, number>>>>;
}

/** Returns the counters of a device from `ip -s -s -j link`, summed up in the same way as in /proc/net/dev. */
export function countsOfLink({ stats64: { rx, tx } }: Link): Record<DeviceColumn, number> {
  const sum = (of: Readonly<Record<string, number>>, ...fields: string[]) =>
    fields.reduce((all, field) => all + (of[field] ?? 0), 0);
  return {
    receivedBytes: sum(rx, 'bytes'),
    receivedPackets: sum(rx, 'packets'),
    receivedErrors: sum(rx, 'errors'),
    receivedDrops: sum(rx, 'dropped', 'missed_errors' in rx ? 'missed_errors' : 'missed'),
    receivedFifo: sum(rx, 'fifo_errors'),
    receivedFrame: sum(rx, 'length_errors', 'over_errors', 'crc_errors', 'frame_errors'),
    receivedMulticast: sum(rx, 'multicast'),
    sentBytes: sum(tx, 'bytes'),
    sentPackets: sum(tx, 'packets'),
    sentErrors: sum(tx, 'errors'),
    sentDrops: sum(tx, 'dropped'),
    sentFifo: sum(tx, 'fifo_errors'),
    collisions: sum(tx, 'collisions'),
    sentCarrier: sum(tx, 'carrier_errors', 'aborted_errors', 'window_errors', 'heartbeat_errors'),
  };
}

export function linksOf(netns: TestNetns): Link[] {
  return JSON.parse(netns.exec('ip -s -s -j link')) as Link[];
}

function fromIp(netns: TestNetns): Counts {
  return Object.fromEntries(
    linksOf(netns).map((link) => {
      const counts = countsOfLink(link);
      return [link.ifname, COLUMNS.map((column) => counts[column])];
    }),
  );
}

/**
 * Returns the result of a walk for a namespace: the counters of the devices that the walk could count, and the kinds of
 * all other devices.
 */
export function walked(rows: DeviceRows, netns: TestNetns): { counts: Counts; others: string[] } {
  const all = rows.of(asNetnsId(Number(netns.id)));
  const counted = all.filter((row) => rows.isCounted(row));
  return {
    counts: Object.fromEntries(
      counted.map((row) => [rows.name(row), COLUMNS.map((column) => rows.value(row, column))]),
    ),
    others: all.filter((row) => !rows.isCounted(row)).map((row) => rows.kind(row)),
  };
}

interface Beside {
  readonly walk: Counts;
  /** Counters of the devices that the walk could count, as read by the other reader. */
  readonly oracle: Counts;
  /** Kinds of the devices that the walk could not count. */
  readonly others: readonly string[];
}

async function beside(read: () => Counts, pass: KernelWalk<DeviceRows>, netns: TestNetns): Promise<Beside> {
  const { oracle, ours } = await readBoth(read, async () => walked(await pass.read(freeCycle()), netns));
  const counted = Object.entries(oracle).filter(([name]) => Object.hasOwn(ours.counts, name));
  return { walk: ours.counts, oracle: Object.fromEntries(counted), others: ours.others };
}

/** Reads the walk and /proc/net/dev at the same moment. */
export function walkBesideFile(pass: KernelWalk<DeviceRows>, netns: TestNetns): Promise<Beside> {
  return beside(() => fromFile(netns), pass, netns);
}

/** Reads the walk and `ip -s link` at the same moment. */
export function walkBesideIp(pass: KernelWalk<DeviceRows>, netns: TestNetns): Promise<Beside> {
  return beside(() => fromIp(netns), pass, netns);
}
