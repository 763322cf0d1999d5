import { expect, it } from 'vitest';
import { makeEvents, messages } from '../../test/support/event_lines.ts';
import { EventBus } from './bus.ts';

it('gives events to followers, and keeps the last ones for who asks later', () => {
  const bus = new EventBus();
  bus.historyMax = 1_000;
  const followed: string[] = [];
  const subscription = bus.follow((batch) => followed.push(...batch.map(({ event }) => event.message)));
  bus.publish(makeEvents(2, { probe: 'one' }));
  const records = bus.publish(makeEvents(1, { probe: 'two' }));
  subscription[Symbol.dispose]();
  bus.publish(makeEvents(3_000, { probe: 'three' }));
  expect(messages(records)).toEqual(['event 0']);
  expect(followed).toEqual(['event 0', 'event 1', 'event 0']);
  expect(bus.history({})).toHaveLength(1_000);
  expect(bus.history({ probe: ['one', 'two'] })).toEqual([]);
  expect(bus.history({ since: '2026-01-01T00:00:00.000002990Z' })).toHaveLength(10);
});
