import { beforeEach, describe, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import type { Listener } from '#sources/sockets/snapshot.ts';
import { AcceptQueueWatch, describeFullQueue, type ListenCounts } from './accept_queues.ts';

const POD = asNetnsId(7);

let watch: AcceptQueueWatch;
let nowMs: number;
/** Counts by namespace. Namespaces without an entry cannot be read. */
let counts: Map<unknown, ListenCounts>;
let reads: number;

beforeEach(() => {
  watch = new AcceptQueueWatch();
  nowMs = 1_000;
  counts = new Map();
  reads = 0;
});

function listener(drops: number, more: Partial<Listener> = {}): Listener {
  const socket = { netns: POD, key: '1', address: '10.0.0.1', port: 80, length: 0, limit: 8, cgroup: undefined };
  return { ...socket, drops, ...more };
}

/**
 * Checks the queues five seconds after the previous check.
 * @param overflows total number of overflows in the counts of the namespace
 * @param drops total number of drops in the counts of the namespace
 */
function look(listeners: readonly Listener[], overflows?: number, drops = overflows ?? 0) {
  nowMs += 5_000;
  if (overflows !== undefined) counts.set(POD, { overflows, drops });
  const countsOf = (id: unknown) => {
    reads++;
    return counts.get(id);
  };
  const { full, limited } = watch.look(listeners, countsOf, nowMs);
  return { full: full.map(({ listener: { key }, refused, seconds }) => [key, refused, seconds]), limited };
}

describe('a full accept queue', () => {
  it('is found while it is full, with the refusals since the last time', () => {
    look([]);
    expect(look([listener(18, { length: 9 })], 18).full).toEqual([['1', 18, 5]]);
    expect(look([listener(20, { length: 9 })], 20).full).toEqual([['1', 2, 5]]);
    expect(look([listener(20, { length: 9 })], 20).full).toEqual([]);
    expect(look([listener(20, { length: 9 })], 20).full).toEqual([]);
    expect(look([listener(21, { length: 9 })], 21).full).toEqual([['1', 1, 5]]);
  });

  it('is found though it is not full any more, by the counts of its namespace', () => {
    look([]);
    expect(look([listener(15)], 15).full).toEqual([['1', 15, 5]]);
    expect(look([listener(16)], 16).full).toEqual([['1', 1, 5]]);
    expect(look([listener(19)], 19).full).toEqual([['1', 3, 5]]);
  });

  it('reports only refusals since the first look', () => {
    expect(look([listener(15, { length: 9 })], 15).full).toEqual([]);
    expect(look([listener(16)], 16).full).toEqual([['1', 1, 5]]);
  });

  it('is found if the namespace cannot be asked, as long as it is full', () => {
    look([]);
    expect(look([listener(3, { length: 9 })]).full).toEqual([['1', 3, 5]]);
    expect(look([listener(5)]).full).toEqual([]);
  });

  it('is found if the namespace has counted more since its sockets were read', () => {
    look([]);
    expect(look([listener(4)], 6).full).toEqual([]);
    expect(look([listener(6)], 6).full).toEqual([['1', 6, 10]]);
    // The namespace has again counted refusals after its sockets were read.
    expect(look([listener(7)], 9).full).toEqual([['1', 1, 5]]);
    expect(look([listener(9)], 9).full).toEqual([['1', 2, 5]]);
  });

  it('belongs to the socket that refuses, not to the others on its port', () => {
    look([]);
    const eight = Array.from({ length: 8 }, (_, nth) => listener(nth === 3 ? 15 : 0, { key: String(nth) }));
    expect(
      look(
        eight.filter(({ drops }) => drops > 0),
        15,
      ).full,
    ).toEqual([['3', 15, 5]]);
  });

  it('explains the overflows, so other ports that drop for another reason are not blamed', () => {
    const other = { key: '2', port: 81 };
    look([]);
    expect(look([listener(10, { length: 9 }), listener(3, other)], 10, 13).full).toEqual([['1', 10, 5]]);
    expect(look([listener(15, { length: 9 }), listener(4, other)], 15, 19).full).toEqual([['1', 5, 5]]);
    expect(look([listener(20, { length: 9 }), listener(5, other)], 20, 25).full).toEqual([['1', 5, 5]]);
    expect(look([listener(25, { length: 9 }), listener(8, other)], 28, 33).full).toEqual([
      ['1', 5, 5],
      ['2', 3, 5],
    ]);
  });

  it('is reported once for all sockets of an address and port, with the fullest', () => {
    look([]);
    const sockets = [3, 9, 5].map((length) => listener(length, { key: String(length), length }));
    const other = listener(1, { key: 'x', address: '10.0.0.2' });
    const { full } = watch.look([...sockets, other], () => ({ overflows: 18, drops: 18 }), nowMs + 5_000);
    expect(full).toEqual([
      { listener: sockets[1], sockets: 3, refused: 17, seconds: 5 },
      { listener: other, sockets: 1, refused: 1, seconds: 5 },
    ]);
  });

  it('of a socket in the place of another one has refused all connections that it has dropped', () => {
    look([]);
    look([listener(15)], 15);
    expect(look([listener(2, { length: 9 })], 17).full).toEqual([['1', 2, 5]]);
    expect(look([listener(9, { length: 9, port: 81 })], 26).full).toEqual([['1', 9, 5]]);
  });

  it('of a socket beyond the bound of a Pod is reported later, with all refusals', () => {
    look([]);
    const many = (drops: number) =>
      Array.from({ length: 20 }, (_, nth) => listener(drops, { key: String(nth), port: 80 + nth, length: 9 }));
    const { full, limited } = look(many(3), 60);
    expect([full.length, limited]).toEqual([16, 4]);
    const later = look(many(4), 80);
    expect([later.full.length, later.limited]).toEqual([16, 4]);
    const rest = look(many(5).toReversed(), 100);
    expect(rest.full.slice(0, 4)).toEqual(['19', '18', '17', '16'].map((key) => [key, 5, 15]));
  });
});

describe('no full accept queue', () => {
  it('is found if a queue is only busy, and nothing is read for it', () => {
    look([]);
    expect(look([]).full).toEqual([]);
    look([listener(15)], 15);
    const before = reads;
    expect(look([listener(15, { length: 8 })], 15)).toEqual({ full: [], limited: 0 });
    expect(reads).toBe(before);
  });

  it('is found if the kernel dropped for another reason', () => {
    look([]);
    expect(look([listener(15)], 0, 15).full).toEqual([]);
    expect(look([listener(18)], 0, 18).full).toEqual([]);
    look([listener(20, { length: 9 })], 2, 20);
    expect(look([listener(25)], 2, 25).full).toEqual([['1', 5, 5]]);
    expect(look([listener(30)], 2, 30).full).toEqual([]);
  });

  it('is found if closed sockets had one', () => {
    look([]);
    expect(look([listener(1)], 40, 41).full).toEqual([]);
    expect(look([listener(2)], 40, 42).full).toEqual([]);
    expect(look([listener(3)], 40, 43).full).toEqual([]);
  });
});

it('is described in a sentence', () => {
  const full = { listener: listener(18, { address: '::', length: 2, limit: 1 }), sockets: 1, refused: 18, seconds: 5 };
  const start =
    'The accept queue of [::]:80 was full: in the last 5 s, 18 segments of new connections were dropped. Now';
  expect(describeFullQueue(full)).toBe(`${start} 2 connections wait to be accepted; the limit is 1.`);
  expect(describeFullQueue({ ...full, sockets: 3 })).toBe(
    `${start} 2 connections wait to be accepted at the fullest of 3 sockets; the limit is 1.`,
  );
});
