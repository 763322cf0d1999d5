import type { EventRecord } from '#api/events.ts';
import { type EventLine, toLine } from '#events/event_line.ts';

/** Events that differ in their time, each a nanosecond later, and in their message. */
export function makeEvents(count: number, more: Partial<EventRecord> = {}, first = 0): EventRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    time: `2026-01-01T00:00:00.${String(first + index).padStart(9, '0')}Z`,
    probe: 'packetloss',
    type: 'packet_drop',
    severity: 'warning',
    node: 'n',
    netns: '1',
    namespace: '',
    pod: '',
    message: `event ${first + index}`,
    ...more,
  }));
}

export function makeLines(count: number, more: Partial<EventRecord> = {}, first = 0): EventLine[] {
  return makeEvents(count, more, first).map(toLine);
}

export function messages(events: readonly EventLine[]): string[] {
  return events.map(({ record }) => record.message);
}
