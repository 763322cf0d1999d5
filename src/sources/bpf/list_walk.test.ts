import fc from 'fast-check';
import { expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { ListWalk } from './list_walk.ts';

const DONE = 2 ** 31;
const STARTS_INITIAL = 2 ** 30;

/**
 * A model of the kernel's namespace list and of the program that reads it in slices. The list changes between slices.
 */
class FakeList {
  ids: number[];
  /** Number of list entries that were read. */
  steps = 0;
  #slice: number[] = [];

  constructor(ids: number[]) {
    this.ids = ids;
  }

  /** Continues at the last entry of the previous slice if that entry is still in the list. */
  read(skip: number, count: number, goesOn: bigint): number {
    const last = goesOn === 1n ? this.ids.indexOf(this.#slice.at(-1) ?? Number.NaN) : -1;
    const from = last < 0 ? skip : last;
    this.#slice = this.ids.slice(from, from + count);
    this.steps += (last < 0 ? skip : 0) + this.#slice.length;
    const done = from + count > this.ids.length;
    return this.#slice.length + (done ? DONE + STARTS_INITIAL : 0);
  }

  cookie(index: number): number {
    return this.#slice[index] ?? 0;
  }
}

it('visits every namespace once, even while others start and end between slices', async () => {
  const change = fc.record({ removed: fc.array(fc.nat()), added: fc.nat({ max: 3 }), addedAt: fc.nat() });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 60 }),
      fc.array(change, { maxLength: 20 }),
      fc.boolean(),
      async (length, changes, hasOther) => {
        const list = new FakeList(Array.from({ length }, (_, index) => index + 1));
        const always = new Set(list.ids);
        let nextId = 1_000;
        let other = 0;
        const pending = [...changes];
        const visited: number[] = [];
        const walk = new ListWalk(8, 4);
        await walk.run(
          (skip, count, goesOn) => {
            // Another walk runs the same program between two slices.
            if (hasOther) list.read(other++ % list.ids.length, 3, 0n);
            const result = list.read(skip, count, goesOn);
            const now = pending.shift();
            // Changes the list after the slice has been read. The first namespace is never removed because the walk
            // runs in it.
            for (const at of now?.removed ?? []) {
              const [gone] = list.ids.length > 1 ? list.ids.splice(1 + (at % (list.ids.length - 1)), 1) : [];
              if (gone !== undefined) always.delete(gone);
            }
            for (let index = 0; index < (now?.added ?? 0); index++) {
              list.ids.splice(1 + ((now?.addedAt ?? 0) % list.ids.length), 0, nextId++);
            }
            return result;
          },
          { key: (index) => list.cookie(index), row: (index) => visited.push(list.cookie(index)) },
          freeCycle(),
        );
        expect(new Set(visited).size).toBe(visited.length);
        for (const id of always) expect(visited).toContain(id);
      },
    ),
    { numRuns: 300 },
  );
});

it('reports that the walk started in the initial namespace', async () => {
  const list = new FakeList([7]);
  const visitor = { key: (index: number) => list.cookie(index), row: () => undefined };
  const outcome = await new ListWalk(8, 4).run(
    (skip, count, goesOn) => list.read(skip, count, goesOn),
    visitor,
    freeCycle(),
  );
  expect(outcome).toEqual({ startsInitial: true });
});

it('gives up on a program that makes no progress', async () => {
  const visitor = { key: () => 0, row: () => undefined };
  await expect(new ListWalk(8, 4).run(() => 0, visitor, freeCycle())).rejects.toThrow(/makes no progress/);
});

it('reads the list once, at any length', async () => {
  const list = new FakeList(Array.from({ length: 5_000 }, (_, index) => index + 1));
  const visited: number[] = [];
  let slices = 0;
  await new ListWalk(8, 4).run(
    (skip, count, goesOn) => {
      slices++;
      return list.read(skip, count, goesOn);
    },
    { key: (index) => list.cookie(index), row: (index) => visited.push(list.cookie(index)) },
    freeCycle(),
  );
  expect(visited).toEqual(list.ids);
  // Each slice starts with the last entry of the previous one.
  expect(list.steps).toBeLessThanOrEqual(list.ids.length + slices);
});
