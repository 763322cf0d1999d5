import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { choices, EVENTS_MAX, EventLog, matches, NO_FILTER, type SeenEvent } from './event_log.ts';
import { MessageReader } from './sse.ts';

function seen(id: string, fields: Partial<EventRecord> = {}): SeenEvent {
  const event = {
    time: '2026-11-21T03:00:00.000000000Z',
    probe: 'packetloss',
    type: 'packet_drop',
    severity: 'warning',
    node: 'worker-1',
    netns: '1',
    namespace: 'shop',
    pod: 'web-1',
    message: 'The kernel dropped a packet.',
    ...fields,
  } as const;
  return { id, event };
}

const range = (from: number, to: number, run = 'a') =>
  Array.from({ length: to - from + 1 }, (_, index) => seen(`${run}-${from + index}`));

describe('the log', () => {
  it('has the newest first, and no duplicates', () => {
    const log = new EventLog();
    expect(log.add(range(1, 3))).toBe(3);
    expect(log.add(range(2, 5))).toBe(2);
    expect(log.events.map(({ id }) => id)).toEqual(['a-5', 'a-4', 'a-3', 'a-2', 'a-1']);
    expect(log.lastId).toBe('a-5');
    expect(log.missed).toBe(0);
  });

  it('is bounded, and counts the events that it removed', () => {
    const log = new EventLog();
    log.add(range(1, EVENTS_MAX));
    log.add(range(EVENTS_MAX + 1, EVENTS_MAX + 7));
    expect(log.events).toHaveLength(EVENTS_MAX);
    expect(log.leftOut).toBe(7);
    expect(log.events.at(-1)?.id).toBe('a-8');
  });

  it('keeps events that match the filters, and removes others first', () => {
    const log = new EventLog();
    log.filter = { ...NO_FILTER, pod: 'db' };
    const ofDb = Array.from({ length: EVENTS_MAX - 1 }, (_, index) => seen(`a-${index + 1}`, { pod: 'db' }));
    log.add([...ofDb, ...range(EVENTS_MAX, EVENTS_MAX + 9)]);
    expect(log.events).toHaveLength(EVENTS_MAX);
    expect(log.leftOut).toBe(9);
    expect(log.events.at(-1)?.id).toBe('a-1');
    expect(log.events[0]?.id).toBe(`a-${EVENTS_MAX + 9}`);
    log.filter = NO_FILTER;
    log.add(range(EVENTS_MAX + 10, EVENTS_MAX + 10));
    expect(log.events.some(({ id }) => id === 'a-1')).toBe(false);
  });

  it('keeps the only event of a Pod, however many another Pod has', () => {
    const log = new EventLog();
    log.add([seen('a-1', { pod: 'db' }), seen('a-2', { pod: null, namespace: null }), ...range(3, 3 * EVENTS_MAX)]);
    expect(log.events).toHaveLength(EVENTS_MAX);
    expect(log.events.slice(-3).map(({ id }) => id)).toEqual([`a-${2 * EVENTS_MAX + 3}`, 'a-2', 'a-1']);
  });

  it('counts the events that were missed between two streams, but no gaps in the history that the first one has', () => {
    const log = new EventLog();
    log.begin();
    log.add([...range(1, 2), ...range(12, 13)]);
    expect(log.missed).toBe(0);
    log.begin();
    log.add(range(20, 21));
    expect(log.missed).toBe(6);
  });

  it('continues after a restart of the agent', () => {
    const log = new EventLog();
    log.add(range(1, 100));
    expect(log.add(range(1, 2, 'b'))).toBe(2);
    expect(log.events[0]?.id).toBe('b-2');
    expect(log.missed).toBe(0);
    expect(log.add(range(1, 3, 'b'))).toBe(1);
  });
});

describe('filters', () => {
  const node = seen('a-1', { namespace: '', pod: '', type: 'tcp_reset', probe: 'tcpreset', severity: 'critical' });
  it.each([
    [{}, true, true],
    [{ probe: 'tcpreset' }, false, true],
    [{ type: 'packet_drop' }, true, false],
    [{ severity: 'critical' }, false, true],
    [{ pod: 'SHOP/web' }, true, false],
    [{ pod: 'web', type: 'tcp_reset' }, false, false],
    [{ text: ' the KERNEL ' }, true, true],
    [{ text: 'worker-2' }, false, false],
  ])('%j', (filter, ofPod, ofNode) => {
    expect(matches(seen('a-2'), { ...NO_FILTER, ...filter })).toBe(ofPod);
    expect(matches(node, { ...NO_FILTER, ...filter })).toBe(ofNode);
  });

  it('can be set to existing values, and keeps its value', () => {
    expect(choices([node, seen('a-2')], 'type', '')).toEqual(['packet_drop', 'tcp_reset']);
    expect(choices([], 'type', 'tcp_reset')).toEqual(['tcp_reset']);
  });

  it('does not match an event without owner', () => {
    expect(matches(seen('a-3', { namespace: null, pod: null }), { ...NO_FILTER, pod: 'web' })).toBe(false);
  });
});

it('messages are the same, however the stream is cut', () => {
  const text =
    'id: a-1\nevent: x\ndata: {"a":1}\n\n: nothing new\n\nid: a-2\nevent: y\ndata: {"b":"ü"}\n\nid: a-3\ndata: {';
  fc.assert(
    fc.property(fc.array(fc.nat(text.length)), (cuts) => {
      const ends = [...cuts, text.length].sort((a, b) => a - b);
      const reader = new MessageReader();
      const pieces = ends.map((end, index) => text.slice(ends[index - 1] ?? 0, end));
      expect(pieces.flatMap((piece) => reader.take(piece))).toEqual([
        { id: 'a-1', data: '{"a":1}' },
        { id: 'a-2', data: '{"b":"ü"}' },
      ]);
    }),
  );
});
