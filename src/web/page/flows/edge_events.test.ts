import { expect, it } from 'vitest';
import type { EdgeSummary } from '#api/flows.ts';
import type { SeenEvent } from '../event_log.ts';
import { eventsOf } from './edge_events.ts';

const seen = (id: string, more: object): SeenEvent => ({
  id,
  event: { namespace: 'shop', pod: 'web', ...more } as SeenEvent['event'],
});

const EVENTS = [
  seen('sent', { src: '10.0.0.1:40000', dst: '10.0.0.7:80' }),
  seen('received', { src: '[fd00::7]:80', dst: '[fd00::1]:40000' }),
  seen('other port', { src: '10.0.0.1:40000', dst: '10.0.0.7:81' }),
  seen('other peer', { src: '10.0.0.1:40000', dst: '10.0.0.70:80' }),
  seen('other Pod', { pod: 'db', src: '10.0.0.1:40000', dst: '10.0.0.7:80' }),
  seen('accepted', { src: '10.0.0.7:50000', dst: '10.0.0.1:8080' }),
  seen('without ends', {}),
  seen('dropped by the node', {
    namespace: '',
    pod: '',
    src: '10.0.0.1:40000',
    dst: '10.0.0.9:80',
    srcOwner: { kind: 'pod', namespace: 'shop', name: 'web', ip: '10.0.0.1' },
  }),
];

const idsOf = (more: Partial<EdgeSummary>) =>
  eventsOf(EVENTS, {
    namespace: 'shop',
    pod: 'web',
    role: 'client',
    peer: '10.0.0.7',
    port: 80,
    ...more,
  } as EdgeSummary).map(({ id }) => id);

it('finds the events of an edge, in both directions', () => {
  expect(idsOf({})).toEqual(['sent']);
  expect(idsOf({ peer: 'fd00::7' })).toEqual(['received']);
  expect(idsOf({ role: 'server', port: 8_080 })).toEqual(['accepted']);
  expect(idsOf({ peer: '10.0.0.9' })).toEqual(['dropped by the node']);
  expect(idsOf({ port: 82 })).toEqual([]);
});
