import { beforeEach, expect, it } from 'vitest';
import { Room } from './room.ts';

let missed: number;
let nowMs: number;
let room: Room;

const tally = { uncounted: () => ({ map_full: missed }) };

beforeEach(() => {
  missed = 3;
  nowMs = 0;
  room = new Room(tally, () => nowMs);
});

it('a map with room says nothing, whatever earlier runs have missed', () => {
  room.look(tally, 'counts', 9, 10);
  expect(room.degraded).toEqual([]);
});

it('a map is full while each entry is taken', () => {
  room.look(tally, 'counts', 10, 10);
  expect(room.degraded).toEqual([
    'counts holds 10 of 10 entries: what finds no room is in no other count than map_full',
  ]);
  room.look(tally, 'counts', 9, 10);
  expect(room.degraded).toEqual([]);
});

it('a map with much room lacked memory for a moment: that is no lasting state', () => {
  missed++;
  room.look(tally, 'counts', 8, 10);
  expect(room.degraded).toEqual([]);
});

it('a map in which something found no room is full for a minute, even where the dead have left some since', () => {
  missed++;
  room.look(tally, 'counts', 9, 10);
  nowMs = 59_000;
  room.look(tally, 'counts', 2, 10);
  expect(room.degraded).toHaveLength(1);
  nowMs = 60_000;
  room.look(tally, 'counts', 2, 10);
  expect(room.degraded).toEqual([]);
});

it('the limits of events are told apart', () => {
  room.lookAtBuckets('event_buckets', 4, 4);
  expect(room.degraded).toEqual(['event_buckets holds 4 namespaces: others send no events']);
  room.lookAtBuckets('event_buckets', 3, 4);
  expect(room.degraded).toEqual([]);
});
