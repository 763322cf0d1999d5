import { expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { departureEvent } from './departures.ts';

const departure = { id: asNetnsId(7), kind: 'pod', uid: 'u', name: 'u', startSeconds: 100 };
const end = { timeNs: 5n, bootSeconds: 101.25, totals: { receivedBytes: 10, sentBytes: 20, tcpRetransmits: 3 } };

it('reports how long it lived, and what it lost', () => {
  expect(departureEvent(departure, end)).toEqual({
    timeNs: 5n,
    netns: 7,
    fields: { kind: 'pod', uid: 'u', livedSeconds: 1.25, receivedBytes: 10, sentBytes: 20, tcpRetransmits: 3 },
    message: 'The Pod ended after 1.25 s. It received 10 bytes and sent 20; 3 TCP segments retransmitted.',
  });
});

it('says where nothing is known, or nothing was lost', () => {
  const unknown = departureEvent(
    { ...departure, kind: 'netns', uid: '', startSeconds: undefined },
    { ...end, totals: undefined },
  );
  expect(unknown.fields).toEqual({ kind: 'netns' });
  expect(unknown.message).toBe('The network namespace ended. Its last counters are unknown.');
  const quiet = departureEvent({ ...departure, kind: 'container' }, { ...end, totals: {} });
  expect(quiet.message).toBe(
    'The container ended after 1.25 s. It received 0 bytes and sent 0; no losses were counted.',
  );
});

it('never reports a negative lifetime', () => {
  expect(departureEvent({ ...departure, startSeconds: 102 }, end).fields.livedSeconds).toBe(0);
});
