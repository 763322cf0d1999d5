import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mibRow, mibTable } from '#bpf/generated/common.ts';
import { conntrackRow } from '#bpf/generated/conntrack.ts';
import { sockRow } from '#bpf/generated/sock.ts';
import { Cycle, freeCycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { Machine, type RowShape } from '../../test/support/machine.ts';
import { ConntrackWalk } from './conntrack/walk.ts';
import { WideCounters } from './conntrack/wide.ts';
import { SourceErrors } from './errors.ts';
import { MibIndex } from './mib/tables.ts';
import { MibWalk } from './mib/walk.ts';
import { SockstatWalk } from './sockstat/walk.ts';

/** A walk that computes sums over CPUs: the layout of its rows, and the values of each namespace. */
interface Walk {
  readonly shape: RowShape;
  open(machine: Machine): Promise<Disposable & { values(cycle: Cycle): Promise<ReadonlyMap<number, unknown>> }>;
}

const byCookie = (ids: readonly NetnsId[], value: (row: number) => unknown) =>
  new Map(ids.map((id, row) => [Number(id), value(row)]));

const FIELDS = new Map([['TCP_MIB_INSEGS', mibTable.tcp]]);

const WALKS: Readonly<Record<string, Walk>> = {
  'SNMP counters': {
    shape: {
      rows: 'mib_rows',
      size: mibRow.SIZE,
      cookieAt: mibRow.offsets.cookie,
      // One bit per table. The lowest bit belongs to TCP, whose first field is checked.
      completeAt: mibRow.offsets.tables,
      sumAt: mibRow.offsets.values,
    },
    open: async ({ bpf, cpus }) => {
      const enumWithMember = (member: string) => (member === '__TCP_MIB_MAX' ? FIELDS : undefined);
      const walk = await MibWalk.open(bpf, cpus, undefined, undefined, new MibIndex({ enumWithMember }));
      return {
        values: async (cycle) => {
          const snapshot = await walk.read(cycle);
          const column = snapshot.column('Tcp', 'InSegs');
          return byCookie(snapshot.ids, (row) => column !== undefined && snapshot.value(row, column));
        },
        [Symbol.dispose]: () => walk[Symbol.dispose](),
      };
    },
  },
  'socket counts': {
    shape: {
      rows: 'sock_rows',
      size: sockRow.SIZE,
      cookieAt: sockRow.offsets.cookie,
      completeAt: sockRow.offsets.complete,
      sumAt: sockRow.offsets.sumsUsed,
    },
    open: async ({ bpf, cpus }) => {
      const walk = await SockstatWalk.open(bpf, cpus);
      return {
        values: async (cycle) => new Map((await walk.read(cycle)).map(({ id, used }) => [Number(id), used])),
        [Symbol.dispose]: () => walk[Symbol.dispose](),
      };
    },
  },
  'connection tracking': {
    shape: {
      rows: 'conntrack_rows',
      size: conntrackRow.SIZE,
      cookieAt: conntrackRow.offsets.cookie,
      completeAt: conntrackRow.offsets.complete,
      sumAt: conntrackRow.offsets.drop,
    },
    open: async ({ bpf, cpus }) => {
      const walk = await ConntrackWalk.open(bpf, cpus, new WideCounters(), new SourceErrors());
      return {
        values: async (cycle) =>
          new Map((await walk.read(cycle)).map(({ id, counters }) => [Number(id), counters.drop])),
        [Symbol.dispose]: () => walk[Symbol.dispose](),
      };
    },
  },
};

/**
 * Generates CPU masks with common and arbitrary numbers of CPUs. The masks have gaps, as on virtual machines and on
 * machines with empty CPU sockets.
 */
const masks = fc
  .record({
    count: fc.oneof(
      fc.constantFrom(1, 2, 3, 5, 6, 7, 12, 16, 24, 32, 48, 64, 96, 128, 255, 256, 1024),
      fc.integer({ min: 1, max: 1024 }),
    ),
    first: fc.nat(3),
    gapEvery: fc.integer({ min: 1, max: 64 }),
    gap: fc.nat(5),
  })
  .map(({ count, first, gapEvery, gap }) =>
    Array.from({ length: count }, (_, index) => first + index + Math.floor(index / gapEvery) * gap),
  );

/** Generates the changes before a reading: which CPUs are offline, and which CPUs' counters increase. */
const step = fc.record({ offlineEvery: fc.integer({ min: 2, max: 9 }), counted: fc.array(fc.nat(), { maxLength: 8 }) });

/** A cycle that is aborted at its first pause. */
class CutCycle extends Cycle {
  override async pause(): Promise<void> {
    throw new Error('cut');
  }
}

describe.each(Object.entries(WALKS))('%s', (_, { shape, open }) => {
  it('are the sums over all CPUs, on a machine with any CPUs', async () => {
    await fc.assert(
      fc.asyncProperty(masks, fc.array(step, { minLength: 1, maxLength: 4 }), async (possible, steps) => {
        const machine = new Machine(possible, shape);
        for (const cookie of [11, 12, 13, 14, 15]) machine.shares.set(cookie, new Map());
        using walk = await open(machine);
        for (const [index, { offlineEvery, counted }] of steps.entries()) {
          machine.online = possible.filter((_, nth) => nth % offlineEvery !== 1 || possible.length < 3);
          for (const nth of counted) machine.count(machine.online[nth % machine.online.length] ?? 0, 1 + (nth % 1000));
          expect(await walk.values(freeCycle())).toEqual(sums(machine));
          machine.shares.set(100 + index, new Map());
        }
      }),
      { numRuns: 60 },
    );
  });

  it('are the same sums after a reading that was aborted while CPUs went offline and online', async () => {
    const possible = Array.from({ length: 1024 }, (_, cpu) => cpu);
    const machine = new Machine(possible, shape);
    for (let cookie = 1; cookie <= 20; cookie++) machine.shares.set(cookie, new Map());
    for (const cpu of possible) machine.count(cpu, 1 + cpu);
    using walk = await open(machine);
    expect(await walk.values(freeCycle())).toEqual(sums(machine));
    machine.online = possible.slice(0, 3);
    await expect(walk.values(new CutCycle(new AbortController().signal))).rejects.toThrow('cut');
    machine.online = possible;
    expect(await walk.values(freeCycle())).toEqual(sums(machine));
  });
});

function sums({ shares }: Machine): Map<number, number> {
  return new Map([...shares].map(([cookie, by]) => [cookie, [...by.values()].reduce((sum, share) => sum + share, 0)]));
}
