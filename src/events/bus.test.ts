import { describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { makeEvents, messages } from '../../test/support/event_lines.ts';
import { RecordBus } from './bus.ts';
import { EVENT_KIND } from './event_kind.ts';
import { type EventFilter, matches } from './filter.ts';

const past = (bus: RecordBus<EventRecord>, filter: EventFilter = {}) => bus.history((event) => matches(event, filter));

it('gives events to followers, and keeps the last ones for later queries', () => {
  const bus = new RecordBus(EVENT_KIND);
  bus.historyMax = 1_000;
  const followed: string[] = [];
  const subscription = bus.follow((batch) => followed.push(...batch.map(({ value }) => value.message)));
  bus.publish(makeEvents(2, { probe: 'one' }));
  const records = bus.publish(makeEvents(1, { probe: 'two' }));
  subscription[Symbol.dispose]();
  bus.publish(makeEvents(3_000, { probe: 'three' }));
  expect(messages(records)).toEqual(['event 0']);
  expect(followed).toEqual(['event 0', 'event 1', 'event 0']);
  expect(past(bus)).toHaveLength(1_000);
  expect(past(bus, { probe: ['one', 'two'] })).toEqual([]);
  expect(past(bus, { since: '2026-01-01T00:00:00.000002990Z' })).toHaveLength(10);
});

describe('the history', () => {
  /** Returns the number of events in the history by Pod. */
  function held(bus: RecordBus<EventRecord>): Record<string, number> {
    const events = past(bus).map(({ value }) => value);
    return Object.fromEntries(
      [...new Set(events.map(({ pod }) => String(pod)))].map((name) => [
        name,
        events.filter(({ pod }) => String(pod) === name).length,
      ]),
    );
  }

  it('has a share for each Pod: the noisiest displaces no other', () => {
    const bus = new RecordBus(EVENT_KIND);
    bus.historyMax = 100;
    bus.publish(makeEvents(5, { pod: 'quiet' }));
    for (let times = 0; times < 40; times++) bus.publish(makeEvents(50, { pod: `loud-${times % 2}` }, 50 * times));
    expect(held(bus)).toEqual({ quiet: 5, 'loud-0': 47, 'loud-1': 48 });
    expect(past(bus, { pod: 'loud-1' }).at(-1)?.value.message).toBe('event 1999');
    const numbers = past(bus).map(({ number }) => number);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  });

  it('has one share for events without a known owner, however many namespaces they come from', () => {
    const bus = new RecordBus(EVENT_KIND);
    bus.historyMax = 100;
    bus.publish(makeEvents(40, { pod: 'quiet' }));
    for (let netns = 0; netns < 300; netns++)
      bus.publish(makeEvents(1, { namespace: null, pod: null, netns: `${netns}` }));
    expect(held(bus)).toEqual({ quiet: 40, null: 60 });
  });
});
