import { describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { gapsOf, marksOf, valueAt } from './marks.ts';

const END_MS = Date.parse('2026-11-28T14:03:00Z');

let counter = 0;
function seen(secondsAgo: number, fields: Partial<EventRecord> = {}) {
  const event = {
    time: new Date(END_MS - secondsAgo * 1_000).toISOString(),
    probe: 'tcpconnect',
    type: 'connection_failed',
    severity: 'warning',
    node: 'node-a',
    netns: '1',
    namespace: 'shop',
    pod: 'checkout-0',
    message: 'refused',
    ...fields,
  } as EventRecord;
  return { id: `a-${++counter}`, event };
}

const marks = (...events: ReturnType<typeof seen>[]) => marksOf(events, 'shop', 'checkout-0', END_MS);

describe('marks', () => {
  it('are the events of the Pod and the changes of the node in the last five minutes, the newest first', () => {
    const found = marks(
      seen(150),
      seen(30, { probe: 'changes', type: 'route_changed', namespace: '', pod: '' }),
      seen(20, { pod: 'checkout-1' }),
      seen(310),
    );
    expect(found.map(({ type, at, isChange }) => [type, at, isChange])).toEqual([
      ['route_changed', 0.9, true],
      ['connection_failed', 0.5, false],
    ]);
  });

  it('stand for all events of a type within ten seconds', () => {
    expect(marks(seen(22, { count: 5 }), seen(25), seen(45)).map(({ count }) => count)).toEqual([6, 1]);
  });

  it('do not mix events with different reasons', () => {
    const found = marks(seen(24, { cause: 'refused', count: 5 }), seen(25, { cause: 'timeout' }));
    expect(found.map(({ count }) => count)).toEqual([5, 1]);
  });
});

describe('gaps', () => {
  const step = 1 / 30;
  const points = (...ats: number[]) => ats.map((at) => ({ at, value: at }));

  it('are the time before the first reading, and between readings that are far apart', () => {
    expect(gapsOf([])).toEqual([{ from: 0, to: 1 }]);
    expect(gapsOf(points(step, 2 * step))).toEqual([]);
    const [first, second] = gapsOf([...points(0.5, 0.5 + step), { at: 0.9, value: 1, isAfterGap: true }]);
    expect([first?.from, first?.to]).toEqual([0, 0.5 - step]);
    expect(second?.from).toBeCloseTo(0.5 + step);
    expect(second?.to).toBeCloseTo(0.9 - step);
  });

  it('have no value', () => {
    const line = points(0.5, 0.5 + step);
    expect(valueAt(line, 0.5)).toBe(0.5);
    expect(valueAt(line, 0.5 + step / 2)).toBeCloseTo(0.5 + step);
    expect([valueAt(line, 0.2), valueAt(line, 0.9), valueAt([], 0.5)]).toEqual([null, null, null]);
  });
});
