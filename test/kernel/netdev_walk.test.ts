import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import { type Btf, KIND } from '#sources/bpf/btf.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { DevicesWalk } from '#sources/devices/walk.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { makeKinds, sendFrames, walkBesideFile, walkBesideIp, walked } from '../support/device_kinds.ts';
import { TestNetns } from '../support/hosts.ts';
import { OBJECTS } from '../support/kernel.ts';
import { retry } from '../support/oracle.ts';

const MANY = 1000;
const RECEIVED_PACKETS = 1;
const RECEIVED_DROPS = 3;
const SENT_DROPS = 10;

/** An XDP program that drops packets of more than 100 bytes. */
const DROP_LONG = `
#include <linux/bpf.h>
__attribute__((section("xdp"), used)) int drop_long(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data > 100 ? XDP_DROP : XDP_PASS;
}
char LICENSE[] __attribute__((section("license"), used)) = "GPL";
`;

/** Creates and renames devices in the first namespace, moves them to the second, and removes them there. */
const CHURN = `
set -e
for i in $(seq 40); do
	ip -n $1 link add name born type ifb
	ip -n $1 link set born name renamed
	ip -n $1 link set renamed netns $2
	ip -n $2 link set renamed name moved
	ip -n $2 link del moved
done`;

const bpf = new BpfSource(OBJECTS, '/sys');
const cpus = cpusOf('/sys');
const resources = new AsyncDisposableStack();
let pass: DevicesWalk;
/** A walk with a time slice of zero, so each call returns the minimum number of devices. */
let sliced: DevicesWalk;
let netns: TestNetns;

function ended(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once('exit', resolve));
}

beforeAll(async () => {
  pass = resources.use(await DevicesWalk.open(bpf, cpus));
  sliced = resources.use(await DevicesWalk.open(bpf, cpus, () => false, 1));
  netns = resources.use(new TestNetns());
});

afterAll(() => resources.disposeAsync());

describe('a device of every kind that this kernel has', () => {
  let made: string[];

  beforeAll(() => {
    made = makeKinds(netns);
    expect(sendFrames(netns)).toBeGreaterThan(made.length * 5);
  });

  it('is counted as ip -s link shows it, and net/dev', async () => {
    const { oracle, walk, others } = await retry(() => walkBesideIp(pass, netns));
    expect(walk).toEqual(oracle);
    expect(Object.keys(walk)).toEqual(expect.arrayContaining(['lo', 'far', ...made]));
    expect(others).toEqual([]);
    const file = await retry(() => walkBesideFile(pass, netns));
    expect(file.walk).toEqual(file.oracle);
    // Each of these counters must have increased, because comparing zeros would prove nothing.
    for (const column of [RECEIVED_PACKETS, RECEIVED_DROPS, RECEIVED_PACKETS + 7, SENT_DROPS]) {
      expect(
        Object.values(walk).some((counts) => Number(counts[column]) > 0),
        `column ${column}`,
      ).toBe(true);
    }
  });

  it('is the same in slices of a few devices', async () => {
    const before = sliced.effort.calls;
    const { oracle, walk } = await retry(() => walkBesideFile(sliced, netns));
    expect(walk).toEqual(oracle);
    expect(sliced.effort.calls - before).toBeGreaterThan(2);
  });
});

it('packets that XDP takes and drops on a veth are counted at both ends', async () => {
  using pair = new TestNetns();
  using folder = new DisposableStack();
  const directory = folder.adopt(mkdtempSync(join(tmpdir(), 'xdp-')), (path) => rmSync(path, { recursive: true }));
  pair.ip('link add name near type veth peer name far');
  const source = join(directory, 'drop.c');
  writeFileSync(source, DROP_LONG);
  const machine = arch() === 'x64' ? 'x86_64' : 'aarch64';
  const flags = ['-target', 'bpf', '-O2', `-I/usr/include/${machine}-linux-gnu`];
  execFileSync('clang', [...flags, '-c', source, '-o', join(directory, 'drop.o')]);
  pair.ip(`link set dev far xdpdrv obj ${join(directory, 'drop.o')} sec xdp`);
  pair.batch('link set near up', 'link set far up');
  pair.python(`
import socket
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(('near', 0))
for n in range(40): sender.send(b'\\xff' * 6 + b'\\x02' * 6 + b'\\x08\\x00' + bytes(30 + 4 * n))
`);
  const { oracle, walk } = await retry(() => walkBesideIp(pass, pair));
  expect(walk).toEqual(oracle);
  // If the other end of the veth pair has an XDP program, the kernel counts these packets only in that end's queue
  // statistics.
  expect(Number(walk['far']?.[RECEIVED_PACKETS])).toBeGreaterThanOrEqual(40);
});

it('a device whose name is not UTF-8 has the name that netlink gives it', async () => {
  using odd = new TestNetns();
  execFileSync('sh', ['-c', `ip -n ${odd.name} link add "$(printf 'd\\377\\303\\244')" type bridge`]);
  execFileSync('sh', ['-c', `ip -n ${odd.name} link add "$(printf 'd\\303\\244')" type bridge`]);
  const { oracle, walk } = await walkBesideFile(pass, odd);
  expect(walk).toEqual(oracle);
  expect(Object.keys(walk).sort()).toEqual(['d/ff/c3/a4', 'dä', 'lo']);
});

it(`${MANY} devices in one namespace are counted, in several calls`, async () => {
  using crowd = new TestNetns();
  crowd.batch(
    ...Array.from({ length: MANY / 2 }, (_, index) => `link add name a${index} type veth peer name b${index}`),
  );
  for (const walk of [pass, sliced]) {
    const before = walk.effort.calls;
    const { counts, others } = walked(await walk.read(freeCycle()), crowd);
    expect(Object.keys(counts)).toHaveLength(MANY + 1);
    expect(others).toEqual([]);
    // The buffer of one call holds only half of the devices.
    expect(walk.effort.calls - before).toBeGreaterThanOrEqual(2);
  }
  expect(sliced.effort.calls).toBeGreaterThan(MANY / 4);
  const { oracle, walk } = await walkBesideFile(pass, crowd);
  expect(walk).toEqual(oracle);
});

it('while devices are born, renamed, moved and removed, those that stay are counted once, in every slice', async () => {
  using still = new TestNetns();
  using from = new TestNetns();
  using to = new TestNetns();
  for (let index = 0; index < 20; index++) still.ip(`link add name s${index} type ifb`);
  const expected = (await walkBesideFile(pass, still)).oracle;
  const churn = spawn('sh', ['-c', CHURN, 'sh', from.name, to.name], { stdio: ['ignore', 'ignore', 'inherit'] });
  let running = true;
  const done = ended(churn).then((code) => {
    running = false;
    return code;
  });
  const seen = new Set<string>();
  while (running) {
    const rows = await sliced.read(freeCycle());
    expect(walked(rows, still).counts).toEqual(expected);
    for (const { id } of [from, to]) {
      const all = rows.of(asNetnsId(Number(id)));
      expect(new Set(all.map((row) => rows.ifindex(row))).size).toBe(all.length);
      for (const row of all) seen.add(rows.name(row));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await done).toBe(0);
  expect([...seen]).toEqual(expect.arrayContaining(['lo', 'born', 'renamed', 'moved']));
});

it('keeps the counts of a CPU that is offline now', async () => {
  if (cpus.possible().length < 2) throw new Error('the test needs two CPUs');
  using host = new TestNetns();
  host.ip('link add name near type veth peer name far');
  host.batch('link set near up', 'link set far up');
  const send = (cpu: number) =>
    host.python(`
import os, socket
os.sched_setaffinity(0, {${cpu}})
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(('near', 0))
for n in range(30): sender.send(b'\\xff' * 6 + b'\\x02' * 6 + b'\\x08\\x00' + bytes(60))
`);
  send(1);
  // In this walk, the second CPU counts as offline.
  using reduced = await DevicesWalk.open(bpf, { possible: cpus.possible, online: () => [0] });
  for (const cpu of [0, 0]) {
    const { oracle, walk } = await retry(() => walkBesideFile(reduced, host));
    expect(walk).toEqual(oracle);
    expect(Number(walk['far']?.[RECEIVED_PACKETS])).toBeGreaterThanOrEqual(30);
    send(cpu);
  }
});

it('leaves devices without types to the kernel, and reports why', async () => {
  using host = new TestNetns();
  host.ip('link add name near type veth peer name far');
  const real = bpf.btf();
  const btf = new Proxy(real, {
    get: (_, key) =>
      key === 'find'
        ? (kind: number, name: string) => (name === 'veth_priv' ? undefined : real.find(kind, name))
        : bound(real, key),
  }) as Btf;
  expect(real.find(KIND.struct, 'veth_stats')).toBeDefined();
  const lacking = {
    btf: () => btf,
    moduleBtf: () => undefined,
    load: (spec) => bpf.load(spec),
  } satisfies Partial<BpfSource>;
  using walk = await DevicesWalk.open(lacking as unknown as BpfSource, cpus);
  const rows = await walk.read(freeCycle());
  expect(walked(rows, host)).toEqual({ counts: { lo: expect.anything() }, others: ['veth', 'veth'] });
  expect([...rows.refused]).toEqual([['veth', 'the kernel shows no struct veth_priv']]);
});

function bound(target: Btf, key: string | symbol): unknown {
  const value = Reflect.get(target, key, target) as unknown;
  return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
}
