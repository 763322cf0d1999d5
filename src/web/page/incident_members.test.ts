import { expect, it } from 'vitest';
import { makeEvents } from '../../../test/support/event_lines.ts';
import { membersOf } from './incident_members.ts';

const timeOf = (at: number) => `2026-01-01T00:00:00.${String(at).padStart(9, '0')}Z`;
const INCIDENT = { connectionIds: ['a', 'b'], firstTime: timeOf(1), lastTime: timeOf(3) };

it('are the events of its connections, in its time', () => {
  const of = (connectionId: string) => makeEvents(5, { connectionId });
  const info = makeEvents(5, { connectionId: 'a', severity: 'info' });
  const events = [...of('a'), ...of('b'), ...of('c'), ...makeEvents(5), ...info].map((event, nth) => ({
    id: String(nth),
    event,
  }));
  expect(membersOf(INCIDENT, events).map(({ id }) => id)).toEqual(['1', '2', '3', '6', '7', '8']);
});
