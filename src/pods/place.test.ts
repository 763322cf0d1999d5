import { describe, expect, it } from 'vitest';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import { nodeNetns, orderOf, type Place } from './place.ts';

function place(id: number, pids: readonly number[]): Place {
  return { id: asNetnsId(id), inum: id * 10, pids, mounts: [], order: id };
}

function rows(...ids: readonly [id: number, initial: boolean][]): ReadonlyMap<number, NetnsRow> {
  return new Map(ids.map(([id, initial]) => [id * 10, { id: asNetnsId(id), inum: id * 10, initial }]));
}

describe("the node's own namespace", () => {
  const live = rows([1, true], [2, false], [3, false]);
  const of = (places: readonly Place[], listed: typeof live | undefined, own: number): NetnsId | undefined =>
    nodeNetns(places, listed, () => own);

  it('is that of process 1', () => {
    expect(of([place(1, [5]), place(2, [9, 1])], live, 5)).toBe(2);
  });

  it("is the machine's first one if process 1 is not seen, if a process is seen in that", () => {
    expect(of([place(3, [9]), place(1, [5])], live, 9)).toBe(1);
    expect(of([place(3, [9]), place(1, [])], live, 9)).toBe(3);
  });

  it("is the agent's if the kernel does not say which is the first, and none if that is not known either", () => {
    expect(of([place(2, [5]), place(3, [9])], undefined, 9)).toBe(3);
    expect(of([place(2, [5])], undefined, 9)).toBeUndefined();
  });
});

it('the creation order of namespaces is that of the list, from the first one on; without the list it is not known', () => {
  const list = [3, 5, 1, 9].map((id) => ({ id: asNetnsId(id), inum: id, initial: id === 1 }));
  const order = orderOf(list);
  const sorted = [3, 5, 1, 9, 7].map((id) => asNetnsId(id)).sort((a, b) => Number(order(a)) - Number(order(b)));
  expect(sorted).toEqual([1, 9, 3, 5, 7]);
  expect(orderOf(undefined)(asNetnsId(1))).toBeUndefined();
});
