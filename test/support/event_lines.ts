import type { EventRecord } from '#api/events.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { EVENT_KIND } from '#events/event_kind.ts';

/** Returns events with different messages, each a nanosecond later than the previous one. */
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

export function makeLines(count: number, more: Partial<EventRecord> = {}, first = 0): LaneRecord[] {
  return makeEvents(count, more, first).map(EVENT_KIND.toRecord);
}

export function messages(records: readonly LaneRecord[]): string[] {
  return records.map(({ json }) => (JSON.parse(json) as EventRecord).message);
}
