import { readdirSync, readlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { BpfObject } from 'bpf-napi';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { histogram as layout } from '#bpf/generated/common.ts';
import { FILE } from '#bpf/generated/netiftxlatency.ts';
import { FILE as SOFTIRQ_FILE } from '#bpf/generated/softirq.ts';
import { readCounter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { HISTOGRAMS, type HistogramRow, Histograms, isEmpty } from '#probe/histogram.ts';
import { RetainedStates } from '#probe/retained.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { HostPair } from '../support/hosts.ts';
import { OBJECTS, only, probesOf, TestKernel } from '../support/kernel.ts';
import { NO_OWNERS } from '../support/owners.ts';

const PROBES = ['softirq', 'biolatency', 'netiftxlatency', 'socketlatency', 'kernellatency'];
const PROGRAMS = ['transmit_done', 'transmit_started', 'packet_dropped', 'packet_queued'];
const MAP = 'transmit_histograms';
const EACH = 2;
const SOFTIRQ_MAP = 'softirq_histograms';

const resources = new AsyncDisposableStack();
const retained = new RetainedStates();
let pair: HostPair;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
});

afterAll(() => resources.disposeAsync());

function histogramsOf(object: BpfObject): Histograms<NetnsId> {
  const map = {
    name: MAP,
    decodeKey: (view: DataView, at: number) => asNetnsId(readCounter(view, at)),
    isByNetns: true,
  };
  return new Histograms(object, map, EACH, NO_OWNERS, retained.of('test', HISTOGRAMS));
}

async function open(entries = 64, programs: readonly string[] = []): Promise<BpfObject> {
  return new BpfSource(OBJECTS, '/sys').load({ file: FILE, programs, sizes: { [MAP]: entries } });
}

/** Writes `value` into every field of both histograms. */
function put(object: BpfObject, netns: bigint, value: bigint): void {
  const map = object.map(MAP);
  const bytes = new BigUint64Array(map.valueBytes / 8).fill(value);
  map.update(new Uint8Array(BigUint64Array.of(netns).buffer), new Uint8Array(bytes.buffer));
}

function sums(rows: Iterable<HistogramRow<NetnsId>>): Map<bigint, readonly bigint[]> {
  return new Map([...rows].map(({ key, histograms }) => [BigInt(key), histograms.map(({ sumNs }) => BigInt(sumNs))]));
}

it('continue from run to run, and forget dead namespaces', async () => {
  const wide = 2n ** 56n;
  {
    using object = await open();
    expect(object.map(MAP).valueBytes).toBe(EACH * layout.SIZE);
    put(object, 1n, 5n);
    put(object, 2n, wide);
    const histograms = histogramsOf(object);
    expect(sums(histograms.rows())).toEqual(
      new Map([
        [1n, [5n, 5n]],
        [2n, [wide, wide]],
      ]),
    );
    for (const { key, histograms: both } of histograms.rows()) {
      for (const { counts } of both) expect(new Set(counts.map(BigInt))).toEqual(new Set([key === 1 ? 5n : wide]));
    }
    histograms.remember();
  }
  using object = await open();
  const histograms = histogramsOf(object);
  put(object, 2n, 1n);
  put(object, 3n, 1n);
  expect([...sums(histograms.rows()).keys()].sort()).toEqual([1n, 2n, 3n]);
  expect(sums(histograms.rows()).get(2n)?.[0]).toBe(wide + 1n);
  histograms.sweep((netns) => netns === 1 || netns === 3);
  expect(sums(histograms.rows())).toEqual(new Map([[2n, [wide + 1n, wide + 1n]]]));
  expect(object.map(MAP).dump().count).toBe(1);
});

it('of a per-CPU map are summed', async () => {
  using object = await new BpfSource(OBJECTS, '/sys').load({ file: SOFTIRQ_FILE, programs: [] });
  const map = object.map(SOFTIRQ_MAP);
  const cpus = map.valueBytes / layout.SIZE;
  expect(cpus).toBeGreaterThanOrEqual(availableParallelism());
  const each = layout.SIZE / 8;
  const bytes = BigUint64Array.from({ length: cpus * each }, (_, index) => BigInt(Math.floor(index / each) + 1));
  map.update(new Uint8Array(Uint32Array.of(3).buffer), new Uint8Array(bytes.buffer));
  const decodeKey = (view: DataView, at: number) => view.getUint32(at, true);
  const described = { name: SOFTIRQ_MAP, decodeKey, isByNetns: false };
  const histograms = new Histograms(object, described, 1, NO_OWNERS, retained.of('test per CPU', HISTOGRAMS));
  const [found, ...more] = histograms.rows().filter(({ histograms: [one] }) => one !== undefined && !isEmpty(one));
  expect([found?.key, more]).toEqual([3, []]);
  const sum = (cpus * (cpus + 1)) / 2;
  expect(found?.histograms).toEqual([{ sumNs: sum, counts: new Array(layout.countsCount).fill(sum) }]);
});

it('counts samples that find no free row', async () => {
  using object = await open(1, PROGRAMS);
  for (const program of PROGRAMS) await object.attach(program);
  const histograms = histogramsOf(object);
  for (const [from, address] of [
    [pair.a, pair.addressB.ipv4],
    [pair.b, pair.addressA.ipv4],
  ] as const) {
    await from.udpSend({ address, port: 7001, count: 20, bytes: 10 });
  }
  expect(object.map(MAP).dump().count).toBe(1);
  expect(Number(histograms.uncounted().map_full)).toBeGreaterThanOrEqual(20);
});

/** Returns the number of this process's descriptors, and the number of those that refer to BPF objects. */
function held(): { all: number; bpf: number } {
  const links = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  return { all: links.length, bpf: links.filter((link) => link.includes('bpf')).length };
}

it('the probes leave nothing behind when they are switched off', async () => {
  await using agent = await TestKernel.open(only({}));
  const on = probesOf(only(Object.fromEntries(PROBES.map((name) => [name, true]))));
  const off = probesOf(only({}));
  await agent.kernel.configure(on);
  await agent.kernel.configure(off);
  const before = held();
  for (let round = 0; round < 3; round++) {
    await agent.kernel.configure(on);
    const running = agent.kernel
      .probes()
      .filter(({ name, state }) => PROBES.includes(name) && ['running', 'degraded'].includes(state));
    expect(running).toHaveLength(PROBES.length);
    expect(held().bpf).toBeGreaterThan(before.bpf + 15);
    await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 20, bytes: 10 });
    await agent.text();
    await agent.kernel.configure(off);
    expect(held().bpf).toBe(before.bpf);
  }
  expect(held().all).toBe(before.all);
});
