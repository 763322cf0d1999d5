import { afterAll, beforeAll, expect, it } from 'vitest';
import { mibRow } from '#bpf/generated/common.ts';
import { FILE as CONNTRACK, conntrackRow } from '#bpf/generated/conntrack.ts';
import { FILE as MIB } from '#bpf/generated/mib.ts';
import { FILE as NETDEV, netdevRow } from '#bpf/generated/netdev.ts';
import { FILE as NETNS, netnsRow } from '#bpf/generated/netns.ts';
import { FILE as QDISC, qdiscRow } from '#bpf/generated/qdisc.ts';
import { FILE as SOCK, sockRow } from '#bpf/generated/sock.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { rowsOf } from '#sources/bpf/list_walk.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { MibWalk } from '#sources/mib/walk.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { CGROUP_V1, TestPod } from '../support/cgroups.ts';
import { TestNetns } from '../support/hosts.ts';
import { OBJECTS } from '../support/kernel.ts';
import { NamespaceFlood } from '../support/namespace_flood.ts';
import { eventually } from '../support/oracle.ts';

const NAMESPACES = 40;
const SLICE = 7n;
const DONE = 2 ** 31;
const CPUS = 1n;

/** The walks over namespaces. `more` contains the arguments that follow `skip` and `count`. */
const WALKS = [
  { file: NETNS, program: 'netns_list', rows: 'netns_rows', row: netnsRow, more: [] },
  { file: MIB, program: 'mib_read', rows: 'mib_rows', row: mibRow, more: [CPUS] },
  { file: SOCK, program: 'sock_read', rows: 'sock_rows', row: sockRow, more: [CPUS] },
  { file: CONNTRACK, program: 'conntrack_read', rows: 'conntrack_rows', row: conntrackRow, more: [CPUS] },
  { file: QDISC, program: 'qdisc_find', rows: 'qdisc_rows', row: qdiscRow, more: [] },
  // The second value is a time limit in nanoseconds that is too long for any call to reach.
  { file: NETDEV, program: 'netdev_read', rows: 'netdev_rows', row: netdevRow, more: [CPUS, 1_000_000_000n] },
] as const;

let pod: TestPod;
let flood: NamespaceFlood;

beforeAll(async () => {
  pod = new TestPod(CGROUP_V1);
  flood = await NamespaceFlood.make(NAMESPACES, pod.container, false);
});

afterAll(async () => {
  await flood?.[Symbol.asyncDispose]();
  await pod?.[Symbol.asyncDispose]();
});

const bpf = new BpfSource(OBJECTS, '/sys');

/** Returns a function that runs one slice of a walk and returns the namespaces of the slice's rows. */
async function openWalk({ file, program, rows, row, more }: (typeof WALKS)[number]) {
  const object = await bpf.load({ file, programs: [program], helpers: ['loop', 'map_lookup_percpu_elem'] });
  const slice = (skip: bigint, count: bigint, goesOn: boolean) => {
    const result = object.run(program, BigUint64Array.of(skip, count, ...more, goesOn ? 1n : 0n));
    const bytes = new Uint8Array(rowsOf(result) * row.SIZE);
    object.map(rows).readMapped(bytes, bytes.length);
    const view = new DataView(bytes.buffer);
    const ids = Array.from({ length: rowsOf(result) }, (_, index) => asNetnsId(row.cookie(view, index * row.SIZE)));
    return { ids, isDone: result >= DONE };
  };
  return { slice, [Symbol.dispose]: () => object.close() };
}

it.each(WALKS)('$program continues where its last slice ended, without counting from the start', async (walk) => {
  using opened = await openWalk(walk);
  // Other tests may remove a namespace during the walk, so the check is retried.
  const met = await eventually(() => {
    const ids: NetnsId[] = [];
    for (let slice = opened.slice(0n, SLICE, false); ; ) {
      ids.push(...slice.ids.slice(ids.length === 0 ? 0 : 1));
      if (slice.isDone) return ids;
      const last = slice.ids.at(-1);
      slice = opened.slice(0n, SLICE, true);
      expect(slice.ids[0]).toBe(last);
    }
  });
  expect(met).toEqual(expect.arrayContaining([...flood.ids]));
  if (walk.program !== 'netdev_read') expect(new Set(met).size).toBe(met.length);
});

it('a slice that ended at a namespace which has gone is counted from the start', async () => {
  using opened = await openWalk(WALKS[0]);
  const start = opened.slice(0n, 1n, false).ids;
  const gone = new TestNetns();
  const id = asNetnsId(Number(gone.id));
  // Finds the position of the namespace in the list.
  for (let skip = 0n; ; skip++) {
    const { ids, isDone } = opened.slice(skip, 1n, false);
    if (ids[0] === id) break;
    if (isDone) throw new Error('the namespace is not in the list');
  }
  expect(opened.slice(0n, 1n, true).ids).toEqual([id]);
  gone[Symbol.dispose]();
  await eventually(() => expect(opened.slice(0n, 1n, true).ids).toEqual(start));
});

it('an unowned namespace has no row', async () => {
  const some = new Set(flood.ids.slice(0, NAMESPACES / 2));
  using pass = await MibWalk.open(bpf, cpusOf('/sys'), (id) => some.has(id));
  const { ids } = await pass.read(freeCycle());
  expect(flood.ids.filter((id) => ids.includes(id))).toEqual(flood.ids.slice(NAMESPACES / 2));
});
