import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FILE } from '#bpf/generated/packetloss.ts';
import { UNLISTED } from '#core/netns.ts';
import { ANY_REASON, COUNTED, Counts } from '#probe/counts.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair, TestNetns } from '../support/hosts.ts';
import { OBJECTS, only, TestKernel } from '../support/kernel.ts';
import { eventually, retry } from '../support/oracle.ts';
import { NO_OWNERS } from '../support/owners.ts';
import { PythonProgram } from '../support/python.ts';
import { eventsOf } from '../support/scene.ts';

const resources = new AsyncDisposableStack();
let pair: HostPair;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
});

afterAll(() => resources.disposeAsync());

it('without BTF every eBPF probe reports that, and the others keep running', async () => {
  const sys = mkdtempSync(join(tmpdir(), 'sys-'));
  resources.defer(() => rmSync(sys, { recursive: true }));
  symlinkSync('/sys/devices', join(sys, 'devices'));
  await using agent = await TestKernel.open('{ probes: { socketlatency: true, softirq: true } }', {
    paths: { sys },
  });
  const page = await agent.page();
  expect(agent.kernel.discovery()).toMatchObject({
    state: 'degraded',
    reason: expect.stringContaining('this kernel has no BTF'),
  });
  const statuses = agent.kernel.probes();
  for (const { name, state, reason } of statuses.filter(({ kind, state }) => kind === 'ebpf' && state !== 'stopped')) {
    // Without BPF, the agent finds new and removed namespaces by scanning, so `lifecycle` is degraded rather than
    // unsupported.
    const without = name === 'lifecycle' ? 'degraded' : 'unsupported';
    expect([name, state, reason]).toEqual([name, without, expect.stringContaining('this kernel has no BTF')]);
  }
  expect(statuses.filter(({ state }) => state === 'unsupported').length).toBeGreaterThanOrEqual(5);
  expect(statuses.find(({ name }) => name === 'tcp')).toMatchObject({ state: 'running', reader: 'files' });
  expect(
    sampleValue(page, 'netsonde_tcp_received_segments_total', { namespace: '', pod: pair.a.netns.name }),
  ).toBeDefined();
});

it('drops without a free row are counted with the rest', async () => {
  // The kernel sends its own packets in a new namespace. The counts are wrong if such packets are discarded during the
  // test, so the test is retried.
  await retry(async () => {
    using object = await new BpfSource(OBJECTS, '/sys').load({
      file: FILE,
      programs: ['packet_drop_socket'],
      constants: { unlisted_rows: 1 },
      without: ['events', 'event_buckets', 'event_ledgers'],
    });
    await object.attach('packet_drop_socket');
    const counts = new Counts(object, (rest) => ({ reason: ANY_REASON, side: rest }), NO_OWNERS, {
      value: COUNTED.initial(),
    });
    // No socket listens on the port, so both namespaces have drops and each needs a row.
    await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 30, bytes: 1 });
    await pair.b.udpSend({ address: pair.addressA.ipv4, port: 7001, count: 30, bytes: 1 });
    const [row, rest, ...others] = counts.rows();
    expect([row?.count, rest?.netns, others]).toEqual([30, UNLISTED, []]);
    expect(Number(rest?.count)).toBeGreaterThanOrEqual(30);
    expect(counts.uncounted().map_full).toBe(0);
  });
});

it('events beyond a share of the ring are limited and counted, and no drop goes uncounted', async () => {
  await using agent = await TestKernel.open(only({ packetloss: { limit: 100_000 } }, { detail: 'full' }));
  const packets = 20_000;
  const drops = async () =>
    sampleValue(await agent.page(), 'netsonde_packet_drops_total', { pod: pair.b.netns.name, reason: 'NO_SOCKET' }) ??
    0;
  const ledger = async () => (await agent.kernel.page('text')).ledger.find(({ probe }) => probe === 'packetloss');
  const before = await drops();
  // execFileSync blocks the thread that drains the ring, so the ring fills up.
  execFileSync('ip', [
    ...['netns', 'exec', pair.a.netns.name, 'python3', '-c'],
    `
import socket
for n in range(${packets}):
  # The kernel reports the closed port to the socket, whose next send then fails. Every second datagram therefore uses a new socket.
  if n % 2 == 0: s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  s.sendto(b'x', ('${pair.addressB.ipv4}', 7002))
`,
  ]);
  expect((await drops()) - before).toBe(packets);
  await eventually(async () => {
    const { produced = 0, limited = 0, lost = 0 } = (await ledger()) ?? {};
    expect(limited).toBeGreaterThan(packets / 4);
    expect(lost).toBe(0);
    expect(agent.events.filter(({ probe }) => probe === 'packetloss')).toHaveLength(produced - limited - lost);
  });
});

it('events of a namespace of which only sockets are left are counted for no other namespace', async () => {
  const gone = new TestNetns();
  const { name, cookie } = gone;
  gone.ip('link set lo up');
  await using agent = await TestKernel.open(only({ tcp: true, tcpreset: true }, { detail: 'full' }));
  expect((await agent.page()).samples.some(({ labels }) => labels['pod'] === name)).toBe(true);
  // The process returns to its own namespace, so only its sockets keep the other namespace alive.
  const program = `
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None)
home = os.open('/proc/self/ns/net', os.O_RDONLY)
fd = os.open('/run/netns/${name}', os.O_RDONLY)
libc.setns(fd, 0x40000000)
server = socket.create_server(('127.0.0.1', 7003))
clients = [socket.create_connection(('127.0.0.1', 7003)) for _ in range(3)]
libc.setns(home, 0x40000000)
os.close(fd)
print('ready', flush=True)
for client in clients:
  sys.stdin.readline()
  client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
  client.close()
  print('reset', flush=True)
sys.stdin.readline()
`;
  await using holder = new PythonProgram(pair.a.netns, program);
  expect(await holder.line()).toBe('ready');
  gone[Symbol.dispose]();
  await eventually(async () => {
    expect((await agent.page()).samples.some(({ labels }) => labels['pod'] === name)).toBe(false);
  });
  using newcomer = new TestNetns();
  await agent.page();
  // The resets of unlisted namespaces have the Pod label `unlisted`.
  const resets = async () =>
    (await agent.page()).samples
      .filter(({ name, labels }) => name === 'netsonde_tcp_resets_total' && labels['pod'] !== 'unlisted')
      .map(({ labels, value }) => `${labels['pod']} ${labels['direction']} ${value}`);
  const before = await resets();
  agent.events.length = 0;
  holder.tell('');
  expect(await holder.line()).toBe('reset');
  const events = await eventually(() => {
    expect(eventsOf(agent, 7003)).toHaveLength(2);
    return eventsOf(agent, 7003);
  });
  for (const event of events) expect(event).toMatchObject({ netns: String(cookie), pod: name });
  expect(await resets()).toEqual(before);
  expect(newcomer.name).not.toBe(name);
});
