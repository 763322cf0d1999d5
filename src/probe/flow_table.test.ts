import fc from 'fast-check';
import { expect, it } from 'vitest';
import { flowKey } from '#bpf/generated/common.ts';
import { asNetnsId } from '#core/netns.ts';
import { FlowModel, ipOf, NAMES, OWNERS, PEERS, rowsOf, type Socket } from '../../test/support/flow_model.ts';
import { FlowTable } from './flow_table.ts';

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('open' as const),
      netns: fc.constantFrom(...OWNERS),
      peer: fc.nat(PEERS - 1),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      which: fc.nat(),
      sent: fc.nat(1_000),
      received: fc.nat(1_000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('close' as const), which: fc.nat() }) },
  // Closes sockets while the walk is in progress.
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('walk' as const),
      step: fc.integer({ min: 1, max: 4 }),
      closes: fc.array(fc.nat(), { maxLength: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('evict' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('split' as const), which: fc.nat() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('give' as const),
      peer: fc.nat(PEERS - 1),
      name: fc.constantFrom(...NAMES),
    }),
  },
);

it('shows never more than was counted, and all of it once nothing moves', () => {
  let evictions = 0;
  let rests = 0;
  let named = 0;
  fc.assert(
    fc.property(fc.array(action, { minLength: 10, maxLength: 120 }), (actions) => {
      using run = new FlowModel();
      run.walk(4, []);
      for (const one of actions) {
        if (one.do === 'open') run.open(one.netns, one.peer);
        else if (one.do === 'send') run.send(run.nth(one.which), one.sent, one.received);
        else if (one.do === 'walk') run.walk(one.step, one.closes);
        else if (one.do === 'evict') run.evict();
        else if (one.do === 'split') run.split(one.which);
        else if (one.do === 'give') run.cluster.give(ipOf(one.peer), one.name);
        else {
          const socket = run.nth(one.which);
          if (socket !== undefined) run.kernel.close(socket);
        }
      }
      evictions += [...run.kernel.rows.values()].filter(({ row }) => row.evicted).length;
      rests += run.kernel.rests.size;
      run.walk(4, []);
      run.expectExact();
      named += NAMES.reduce((sum, name) => sum + (name === '' ? 0 : (run.shown.named.get(name)?.[1] ?? 0)), 0);
    }),
    { numRuns: 400 },
  );
  expect(named).toBeGreaterThan(0);
  expect(evictions).toBeGreaterThan(0);
  expect(rests).toBeGreaterThan(0);
});

it('sockets that leave the rest row for a row of their own and end during the same walk count once', () => {
  using run = new FlowModel();
  run.walk(4, []);
  run.open(3, 0);
  const only = run.nth(0);
  if (only === undefined) throw new Error('there is no socket');
  run.kernel.close(only);
  // The maximum number of rows is reached, so the two sockets to another peer are counted without a row of their own.
  run.open(3, 1);
  for (let walk = 0; walk < 2; walk++) run.walk(1, []);
  // The walk visits this socket between the other two.
  run.open(2, 0);
  run.walk(1, []);
  run.evict();
  run.open(3, 1);
  run.walk(1, []);
  run.walk(1, [1, 0]);
  run.walk(4, []);
  run.expectExact();
});

it('counts nothing from before its first take', () => {
  using run = new FlowModel();
  run.open(2, 1);
  run.send(run.nth(0), 500, 600);
  run.walk(4, []);
  expect(run.shown.sums.get(asNetnsId(2))).toEqual([0, 0, 0]);
  run.send(run.nth(0), 10, 20);
  run.walk(4, []);
  expect(run.shown.sums.get(asNetnsId(2))).toEqual([0, 10, 20]);
});

it('goes on without a jump once open sockets are read', () => {
  using run = new FlowModel();
  run.open(2, 1);
  run.send(run.nth(0), 500, 600);
  run.kernel.close(run.nth(0) as Socket);
  run.table.take({ rows: rowsOf(run.kernel), rests: undefined, walk: undefined });
  run.open(2, 1);
  run.send(run.nth(0), 7, 7);
  run.walk(4, []);
  expect(run.shown.sums.get(asNetnsId(2))).toEqual([0, 0, 0]);
  run.send(run.nth(0), 1, 2);
  run.walk(4, []);
  expect(run.shown.sums.get(asNetnsId(2))).toEqual([0, 1, 2]);
});

it('leaves counts with the owner of the address at that time, and gives those of a change to nobody', () => {
  using run = new FlowModel();
  run.walk(4, []);
  run.cluster.give(ipOf(1), 'cart');
  run.open(2, 1);
  run.send(run.nth(0), 100, 0);
  run.walk(4, []);
  run.send(run.nth(0), 10, 0);
  run.cluster.give(ipOf(1), '');
  run.cluster.give(ipOf(1), 'web');
  run.send(run.nth(0), 1, 0);
  run.walk(4, []);
  const sent = () => Object.fromEntries([...run.shown.named].map(([name, [, bytes]]) => [name, bytes]));
  expect(sent()).toEqual({ cart: 100, '': 11 });
  // If a socket is closed while sockets are being read, its traffic appears one update later.
  run.send(run.nth(0), 2, 0);
  run.walk(4, []);
  run.send(run.nth(0), 1_000, 0);
  run.walk(4, []);
  expect(sent()).toEqual({ cart: 100, '': 13, web: 1_000 });
});

it('a row that is split keeps its totals, and a new row goes on from zero', () => {
  using run = new FlowModel();
  run.walk(4, []);
  run.open(2, 1);
  run.send(run.nth(0), 500, 600);
  run.walk(4, []);
  const [first] = run.table.rows();
  if (first === undefined) throw new Error('there is no row');
  const next = run.table.split(first);
  expect([first.isLast, first.open, next.open]).toEqual([true, 0, 1]);
  run.send(run.nth(0), 7, 8);
  run.walk(4, []);
  expect([first, next].map((row) => [row.count('sent_bytes'), row.count('connections')])).toEqual([
    [500, 1],
    [7, 0],
  ]);
  expect(next.serial).not.toBe(first.serial);
});

it('the row of a cgroup is over after ten minutes without growth', () => {
  let nowMs = 0;
  using run = new FlowModel();
  const { kernel } = run;
  const owners = { slotOf: Number, homeOf: (slot: number) => asNetnsId(slot) };
  const table = new FlowTable(
    owners,
    () => true,
    undefined,
    () => nowMs,
  );
  const socket = { netns: 2, peer: 1, sent: 1, received: 1 };
  const take = () => {
    kernel.begin();
    kernel.step(9);
    const rows = rowsOf(kernel);
    rows.view.setBigUint64(rows.keyAt(0) + flowKey.offsets.cgroup, 9n, true);
    table.take({ rows, rests: undefined, walk: kernel.walk });
    return table.rowOf(rows, 0);
  };
  kernel.sockets.add(socket);
  const row = take();
  if (row === undefined) throw new Error('the table has no row');
  nowMs = 700_000;
  take();
  expect(table.isOver(row)).toBe(false);
  kernel.close(socket);
  take();
  nowMs += 599_999;
  take();
  expect(table.isOver(row)).toBe(false);
  nowMs++;
  expect(table.isOver(row)).toBe(true);
});
