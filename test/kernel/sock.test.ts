import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CountedPair, ofPod } from '../support/counters.ts';
import { sampleValue } from '../support/exposition.ts';
import { type HostPair, startPython } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { readBoth } from '../support/oracle.ts';

/** Opens a different number of sockets of each kind, and sends the first fragment of a datagram without the rest. */
const SOCKETS = (count: number) => `
import socket, struct, time
held = []
for family, more in ((socket.AF_INET, ${count}), (socket.AF_INET6, ${count + 1})):
    for _ in range(more): held.append(socket.socket(family, socket.SOCK_RAW, 253))
    for _ in range(more + 2): held.append(socket.socket(family, socket.SOCK_DGRAM)); held[-1].bind(('', 0))
    for _ in range(more + 4): held.append(socket.socket(family, socket.SOCK_STREAM)); held[-1].bind(('', 0)); held[-1].listen()
held.append(socket.socketpair())
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for number in range(${count}):
    loopback = socket.inet_aton('127.0.0.1')
    header = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 44, number + 1, 0x2000, 64, 17, 0, loopback, loopback)
    raw.sendto(header + bytes(24), ('127.0.0.1', 0))
print('ready')
time.sleep(1000)
`;

const resources = new AsyncDisposableStack();
let pair: HostPair;
const CONFIG = only({ sock: true }, { detail: 'full' });

let agent: TestKernel;
let withoutPass: TestKernel;

beforeAll(async () => {
  const counted = resources.use(await CountedPair.create(CONFIG));
  ({ pair, agent } = counted);
  resources.use(await startPython(pair.a.netns, SOCKETS(3)));
  resources.use(await startPython(pair.b.netns, SOCKETS(5)));
  withoutPass = resources.use(await TestKernel.open(CONFIG, { objects: '/nonexistent' }));
});

afterAll(() => resources.disposeAsync());

describe.each([
  ['the sender', 'pass', () => pair.a, () => agent],
  ['the receiver', 'pass', () => pair.b, () => agent],
  ['the sender', 'files', () => pair.a, () => withoutPass],
  ['the receiver', 'files', () => pair.b, () => withoutPass],
])('%s by %s', (_, reader, hostOf, agentOf) => {
  it('sock equals sockstat and sockstat6 read inside', async () => {
    const host = hostOf();
    expect(
      agentOf()
        .kernel.probes()
        .find(({ name }) => name === 'sock')?.reader,
    ).toBe(reader);
    const { oracle, ours } = await readBoth(
      // These fields cover the whole machine, so they change with any activity on it.
      () => host.netns.exec('cat /proc/net/sockstat /proc/net/sockstat6').replace(/ (orphan|alloc|mem) \d+/g, ''),
      () => agentOf().page(),
    );
    const number = (line: string, name: string) =>
      Number(new RegExp(`^${line}:.* ${name} (\\d+)`, 'm').exec(oracle)?.[1]);
    expect(ofPod(ours, host, 'netsonde_sockets_used')).toBe(number('sockets', 'used'));
    expect(ofPod(ours, host, 'netsonde_tcp_time_wait_sockets')).toBe(number('TCP', 'tw'));
    for (const [family, suffix] of [
      ['ipv4', ''],
      ['ipv6', '6'],
    ] as const) {
      const labels = { family };
      expect(ofPod(ours, host, 'netsonde_tcp_sockets_in_use', labels)).toBe(number(`TCP${suffix}`, 'inuse'));
      expect(ofPod(ours, host, 'netsonde_udp_sockets_in_use', labels)).toBe(number(`UDP${suffix}`, 'inuse'));
      expect(ofPod(ours, host, 'netsonde_raw_sockets_in_use', labels)).toBe(number(`RAW${suffix}`, 'inuse'));
      expect(ofPod(ours, host, 'netsonde_ip_fragment_queues', labels)).toBe(number(`FRAG${suffix}`, 'inuse'));
      expect(ofPod(ours, host, 'netsonde_ip_fragment_bytes', labels)).toBe(number(`FRAG${suffix}`, 'memory'));
    }
    const count = host === pair.a ? 3 : 5;
    expect(number('RAW', 'inuse')).toBe(count + 1);
    expect(number('RAW6', 'inuse')).toBe(count + 1);
    expect(number('FRAG', 'inuse')).toBeGreaterThanOrEqual(count);
    expect(number('TCP', 'inuse')).toBeGreaterThanOrEqual(count + 4);
    expect(number('TCP6', 'inuse')).toBeGreaterThanOrEqual(count + 5);
  });
});

it('node metrics of sock are bracketed by two readings of the file', async () => {
  const read = () => {
    const text = pair.a.netns.exec('cat /proc/net/sockstat');
    return ['orphan', 'alloc'].map((name) => Number(new RegExp(`^TCP:.* ${name} (\\d+)`, 'm').exec(text)?.[1]));
  };
  const before = read();
  const page = await agent.page();
  const after = read();
  for (const [index, name] of ['netsonde_node_tcp_orphan_sockets', 'netsonde_node_tcp_allocated_sockets'].entries()) {
    const value = sampleValue(page, name, { namespace: '', pod: '' });
    expect(value).toBeGreaterThanOrEqual(Math.min(before[index] ?? 0, after[index] ?? 0));
    expect(value).toBeLessThanOrEqual(Math.max(before[index] ?? 0, after[index] ?? 0));
  }
});
