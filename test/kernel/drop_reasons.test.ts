import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_PATHS } from '../../src/paths.ts';
import { DESCRIBED_REASONS, describeReason } from '../../src/probes/drop_hints.ts';
import { DropReasons } from '../../src/probes/drop_reasons.ts';
import { BpfSource } from '../../src/sources/bpf/source.ts';
import { HostPair } from '../support/hosts.ts';
import { OBJECTS, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { FAMILIES, type Family, growth, playScene } from '../support/scene.ts';

const DROPS = 'netsonde_packet_drops_total';

/** Refuses UDP only: a namespace that is young asks for routers and tells of its multicast groups. */
const DROP_UDP = `
#include <linux/bpf.h>
static int is_udp(unsigned char *data, unsigned char *end)
{
	if (data + 24 > end)
		return 0;
	return data[12] == 0x08 ? data[23] == 17 : data[12] == 0x86 && data[20] == 17;
}
__attribute__((section("tc"), used)) int verdict_tc(struct __sk_buff *skb)
{
	return is_udp((void *)(long)skb->data, (void *)(long)skb->data_end) ? 2 : 0;
}
__attribute__((section("xdp"), used)) int verdict_xdp(struct xdp_md *xdp)
{
	return is_udp((void *)(long)xdp->data, (void *)(long)xdp->data_end) ? XDP_DROP : XDP_PASS;
}
`;

let pair: HostPair;
let agent: TestKernel;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'drops-'));
  writeFileSync(join(directory, 'drop.c'), DROP_UDP);
  execFileSync('clang', [
    '-target',
    'bpf',
    '-O2',
    '-g',
    `-I/usr/include/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`,
    '-c',
    join(directory, 'drop.c'),
    '-o',
    join(directory, 'drop.o'),
  ]);
  pair = await HostPair.create();
  agent = await TestKernel.open('{ detail: full, probes: { tcpreset: false, tcpretrans: false } }');
});

afterAll(async () => {
  rmSync(directory, { recursive: true });
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

interface Case {
  readonly name: string;
  readonly families?: readonly Family[];
  /** Commands of ip and tc that set it up, and those that undo it. */
  readonly setUp?: (pair: HostPair) => void;
  readonly tearDown?: (pair: HostPair) => void;
  readonly program: string;
  readonly where: 'a' | 'b';
  readonly reason: string;
  /** Where it is not exactly so many, the program prints how many there were. */
  readonly count?: number;
  /** The kernel worked for the process that sent. */
  readonly byProcess?: boolean;
  readonly symbol?: RegExp;
}

/** An IPv4 packet with any source address, TTL and destination. */
const FORGED = `
def forged(source, ttl=9, target=None, check=0, version=0x45):
    payload = struct.pack('!HHHH', 40000, PORT, 8, 0)
    header = struct.pack('!BBHHHBBH4s4s', version, 0, 28, 1, 0, ttl, 17, check, socket.inet_aton(source), socket.inet_aton(target or ADDRESS[B]))
    return header[:10] + struct.pack('!H', checksum(header) ^ check) + header[12:] + payload
def frame(packet, mac=None):
    device = DEVICE_A
    to = mac or open_mac(B, DEVICE_B)
    s = make_packet_socket(device)
    s.send(to + open_mac(A, device) + struct.pack('!H', 0x0800) + packet)
def open_mac(ns, device):
    import json
    enter(ns)
    link = json.loads(subprocess.check_output(['ip', '-n', ns, '-j', 'link', 'show', device]))[0]['address']
    return bytes.fromhex(link.replace(':', ''))
def make_packet_socket(device):
    enter(A)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((device, 0))
    return s
`;
const SEND = "sock(A, socket.SOCK_DGRAM).sendto(b'x' * 100, (ADDRESS[B], PORT))";
const forward = (on: 0 | 1) => (given: HostPair) => void given.b.netns.exec(`sysctl -qw net.ipv4.ip_forward=${on}`);
const route = (verb: string) => (given: HostPair) => void given.a.netns.ip(`route ${verb} 10.77.0.0/16 via 10.9.0.2`);

const CASES: readonly Case[] = [
  { name: 'a port that nobody listens on', program: SEND, where: 'b', reason: 'NO_SOCKET', count: 1, symbol: /udp/ },
  {
    name: 'a full receive buffer',
    program: `
before = int(subprocess.check_output("ip netns exec %s nstat -asz | awk '/%s/ { print $2 }'" % (B, 'Udp6RcvbufErrors' if V6 else 'UdpRcvbufErrors'), shell=True))
server = sock(B, socket.SOCK_DGRAM); server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096); server.bind((ADDRESS[B], PORT))
client = sock(A, socket.SOCK_DGRAM)
for i in range(10): client.sendto(b'x' * 1000, (ADDRESS[B], PORT))
time.sleep(0.05)
print(int(subprocess.check_output("ip netns exec %s nstat -asz | awk '/%s/ { print $2 }'" % (B, 'Udp6RcvbufErrors' if V6 else 'UdpRcvbufErrors'), shell=True)) - before)
`,
    where: 'b',
    reason: 'SOCKET_RCVBUFF',
  },
  {
    name: 'a full queue of the device',
    setUp: ({ a, deviceA }) => void a.netns.tc(`qdisc add dev ${deviceA} root tbf rate 64kbit burst 1600 limit 3000`),
    tearDown: ({ a, deviceA }) => void a.netns.tc(`qdisc del dev ${deviceA} root`),
    program: `
client = sock(A, socket.SOCK_DGRAM)
for i in range(20): client.sendto(b'x' * 1000, (ADDRESS[B], PORT))
import json
print(json.loads(subprocess.check_output(['tc', '-n', A, '-s', '-j', 'qdisc', 'show', 'dev', DEVICE_A]))[0]['drops'])
`,
    where: 'a',
    reason: 'QDISC_DROP',
    byProcess: true,
  },
  {
    name: 'a rule of the output hook',
    program: `
drop(A, 'udp dport %d drop' % PORT, 'type filter hook output priority 0')
try: ${SEND}
except PermissionError: pass
undrop(A)
`,
    where: 'a',
    reason: 'NETFILTER_DROP',
    count: 1,
    byProcess: true,
  },
  {
    name: 'a wrong UDP checksum',
    program: 'raw(17, datagram(PORT, 0x5555))',
    where: 'b',
    reason: 'UDP_CSUM',
    count: 1,
  },
  {
    name: 'a wrong TCP checksum',
    program: 'raw(6, segment(PORT, 0x02, 0x5555))',
    where: 'b',
    reason: 'TCP_CSUM',
    count: 1,
  },
  {
    name: 'a protocol that nobody handles',
    program: "raw(253, b'x' * 20)",
    where: 'b',
    reason: 'IP_NOPROTO',
    count: 1,
  },
  {
    name: 'a frame for another host',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged(ADDRESS[A]), bytes.fromhex('020000000001'))`,
    where: 'b',
    reason: 'OTHERHOST',
    count: 1,
  },
  {
    name: 'a wrong checksum of the header',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged(ADDRESS[A], check=0x5555))`,
    where: 'b',
    reason: 'IP_CSUM',
    count: 1,
  },
  {
    name: 'a header that is no IPv4',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged(ADDRESS[A], version=0x65))`,
    where: 'b',
    reason: 'IP_INHDR',
    count: 1,
  },
  {
    name: 'a loopback address from outside',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged('127.0.0.1'))`,
    where: 'b',
    reason: 'IP_LOCALNET',
    count: 1,
  },
  {
    name: 'our own address from outside',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged(ADDRESS[B]))`,
    where: 'b',
    reason: 'IP_LOCAL_SOURCE',
    count: 1,
  },
  {
    name: 'a source that is to be reached by another way',
    families: ['ipv4'],
    setUp: ({ b, deviceB }) =>
      void b.netns.exec(`sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.${deviceB}.rp_filter=1`),
    tearDown: ({ b, deviceB }) =>
      void b.netns.exec(`sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.${deviceB}.rp_filter=0`),
    program: `${FORGED}\nframe(forged('10.200.9.9'))`,
    where: 'b',
    reason: 'IP_RPFILTER',
    count: 1,
  },
  {
    name: 'a packet for others where nothing is forwarded',
    families: ['ipv4'],
    setUp: route('add'),
    tearDown: route('del'),
    program: "sock(A, socket.SOCK_DGRAM).sendto(b'x', ('10.77.0.1', PORT))",
    where: 'b',
    reason: 'IP_INADDRERRORS',
    count: 1,
  },
  {
    name: 'a packet to forward without a route',
    families: ['ipv4'],
    setUp: (given) => [route('add'), forward(1)].map((act) => act(given)),
    tearDown: (given) => [route('del'), forward(0)].map((act) => act(given)),
    program: "sock(A, socket.SOCK_DGRAM).sendto(b'x', ('10.77.0.1', PORT))",
    where: 'b',
    reason: 'IP_INNOROUTES',
    count: 1,
  },
  {
    name: 'a TTL that has run out',
    families: ['ipv4'],
    setUp: (given) => [route('add'), forward(1)].map((act) => act(given)),
    tearDown: (given) => [route('del'), forward(0)].map((act) => act(given)),
    program: `
s = sock(A, socket.SOCK_DGRAM); s.setsockopt(0, socket.IP_TTL, 1)
subprocess.run(['ip', '-n', B, 'route', 'add', '10.77.0.0/16', 'via', ADDRESS[A]], check=True)
s.sendto(b'x', ('10.77.0.1', PORT))
subprocess.run(['ip', '-n', B, 'route', 'del', '10.77.0.0/16'], check=True)
`,
    where: 'b',
    reason: 'IP_INHDR',
    count: 1,
  },
  {
    name: 'a neighbour that does not answer',
    families: ['ipv4'],
    program: `
client = sock(A, socket.SOCK_DGRAM)
for i in range(5): client.sendto(b'x', ('10.9.0.77', PORT))
time.sleep(3.3)
`,
    where: 'a',
    reason: 'NEIGH_FAILED',
    count: 5,
  },
  {
    name: 'a neighbour of IPv6 that does not answer, for which the kernel has no reason',
    families: ['ipv6'],
    program: `
client = sock(A, socket.SOCK_DGRAM)
for i in range(5): client.sendto(b'x', ('fd09::77', PORT))
time.sleep(3.3)
`,
    where: 'a',
    reason: 'NOT_SPECIFIED',
    symbol: /neigh_invalidate|ndisc_error_report/,
    count: 5,
  },
  {
    name: 'a packet that is larger than the other end takes',
    setUp: ({ b, deviceB }) => void b.netns.ip(`link set ${deviceB} mtu 1280`),
    tearDown: ({ b, deviceB }) => void b.netns.ip(`link set ${deviceB} mtu 1500`),
    program: "sock(A, socket.SOCK_DGRAM).sendto(b'x' * 1400, (ADDRESS[B], PORT))",
    where: 'a',
    reason: 'NOT_SPECIFIED',
    count: 1,
    byProcess: true,
    symbol: /forward_skb/,
  },
  {
    name: 'a tc filter that refuses to send',
    setUp: ({ a, deviceA }) => {
      a.netns.tc(`qdisc add dev ${deviceA} clsact`);
      a.netns.tc(`filter add dev ${deviceA} egress bpf da obj ${directory}/drop.o sec tc`);
    },
    tearDown: ({ a, deviceA }) => void a.netns.tc(`qdisc del dev ${deviceA} clsact`),
    program: SEND,
    where: 'a',
    reason: 'TC_EGRESS',
    count: 1,
    byProcess: true,
  },
  {
    name: 'a tc filter that refuses what comes in',
    setUp: ({ b, deviceB }) => {
      b.netns.tc(`qdisc add dev ${deviceB} clsact`);
      b.netns.tc(`filter add dev ${deviceB} ingress bpf da obj ${directory}/drop.o sec tc`);
    },
    tearDown: ({ b, deviceB }) => void b.netns.tc(`qdisc del dev ${deviceB} clsact`),
    program: SEND,
    where: 'b',
    reason: 'TC_INGRESS',
    count: 1,
  },
  {
    name: 'an XDP program',
    setUp: ({ b, deviceB }) => void b.netns.ip(`link set ${deviceB} xdp obj ${directory}/drop.o sec xdp`),
    tearDown: ({ b, deviceB }) => void b.netns.ip(`link set ${deviceB} xdp off`),
    program: SEND,
    where: 'b',
    reason: 'NOT_SPECIFIED',
    count: 1,
    symbol: /xdp/,
  },
];

describe.each(FAMILIES)('over %s', (family) => {
  const cases = CASES.filter(({ families }) => families?.includes(family) ?? true);
  it.each(cases.map((one, index) => [one.name, one, 7_400 + index] as const))('%s', async (_, one, port) => {
    agent.events.length = 0;
    const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
    const prelude = `PORT, DEVICE_A, DEVICE_B = ${port}, '${pair.deviceA}', '${pair.deviceB}'\n`;
    one.setUp?.(pair);
    const { grown, result } = await growth(agent, pods, DROPS, 'reason', async () => {
      try {
        return await playScene(pair, family, prelude + one.program);
      } finally {
        one.tearDown?.(pair);
      }
    });
    const count = one.count ?? result.printed[0] ?? 0;
    expect(count).toBeGreaterThan(0);
    expect(grown[`${one.where} ${one.reason}`]).toBe(count);
    expect(grown[`${one.where === 'a' ? 'b' : 'a'} ${one.reason}`]).toBeUndefined();
    const events = await eventually(() => {
      const found = agent.events.filter(({ pod, reason }) => pod === pods[one.where] && reason === one.reason);
      expect(found).toHaveLength(count);
      return found;
    });
    for (const event of events) {
      expect(event).toMatchObject({ type: 'packet_drop', hint: describeReason(one.reason).hint });
      expect(event.message).toContain(describeReason(one.reason).what);
      expect(event['symbol']).toMatch(one.symbol ?? /^\w+[.\w]*\+0x/);
      expect(event['pid']).toBe(one.byProcess === true ? result.pid : undefined);
      expect(event['process']).toBe(one.byProcess === true ? 'python3' : undefined);
      expect(event['cgroup']).toEqual(one.byProcess === true ? expect.stringMatching(/^\d+$/) : undefined);
    }
  });
});

it('describes every reason that this kernel has, and shows one that it does not know by the name of the kernel', () => {
  const reasons = new DropReasons(new BpfSource(OBJECTS, DEFAULT_PATHS.sys));
  const unknown = describeReason('A_REASON_OF_TOMORROW');
  const names = reasons.all.filter((name) => name !== 'NOT_DROPPED_YET');
  expect(names.length).toBeGreaterThan(60);
  expect(names.filter((name) => describeReason(name).what === unknown.what)).toEqual([]);
  expect(new Set(DESCRIBED_REASONS).size).toBe(DESCRIBED_REASONS.length);
  expect(reasons.name(60_000)).toBe('UNKNOWN_60000');
  expect(reasons.name((2 << 16) | 3)).toMatch(/^(OVS_|OPENVSWITCH_3)/);
  expect(reasons.name((77 << 16) | 3)).toBe('SUBSYSTEM_77_3');
});
