import { expect, it } from 'vitest';
import type { SeenEvent } from '../event_log.ts';
import { missingNames, requestEvents, worstPaths } from './worst_paths.ts';

const WEB = { namespace: 'shop', pod: 'web' };

const seen = (type: string, more: object): SeenEvent => ({
  id: '1',
  event: { type, ...more } as unknown as SeenEvent['event'],
});

const failed = (path: string, status: string, more: object = {}) =>
  seen('http_request_failed', { method: 'GET', path, status, seconds: 0.1, ...more });

it('adds up requests by method and path, the most failed first', () => {
  const events = [
    seen('http_request_slow', { method: 'GET', path: '/search', status: '200', seconds: 3 }),
    failed('/pay', '503', { count: 4 }),
    failed('/pay', 'none', { seconds: 2 }),
    failed('/cart/*', '500'),
    seen('connection_failed', {}),
  ];
  expect(
    worstPaths(events).map(({ what, failed: count, slow, longest, statuses }) => [
      what,
      count,
      slow,
      longest,
      [...statuses],
    ]),
  ).toEqual([
    [
      'GET /pay',
      5,
      0,
      2,
      [
        ['503', 4],
        ['none', 1],
      ],
    ],
    ['GET /cart/*', 1, 0, 0.1, [['500', 1]]],
    ['GET /search', 0, 1, 3, []],
  ]);
});

it('shows the code of a gRPC call, whose status is that of a success', () => {
  const events = [failed('/shop.Cart/Add', '200', { grpcCode: 'INTERNAL' })];
  expect(worstPaths(events).map(({ statuses }) => [...statuses])).toEqual([[['INTERNAL', 1]]]);
});

it('counts the events of requests since a time', () => {
  const [early, late] = ['2026-01-01T00:00:00Z', '2026-01-01T00:05:00Z'];
  const events = [
    failed('/pay', '503', { time: late, count: 4 }),
    seen('dns_unanswered', { time: late, name: 'db', qtype: 'a' }),
    seen('dns_nxdomain_storm', { time: late, names: [] }),
    seen('connection_failed', { time: late }),
    failed('/pay', '503', { time: early }),
  ];
  expect(requestEvents(events, Date.parse(late))).toBe(6);
});

it('names a path that is not known, and queries without an answer', () => {
  const events = [
    seen('http_request_failed', { method: 'POST', status: '500', seconds: 1 }),
    seen('dns_unanswered', { name: 'db.shop', qtype: 'a', seconds: 5 }),
  ];
  expect(worstPaths(events).map(({ what }) => what)).toEqual(['A db.shop', 'POST an unknown path']);
});

it('lists each missing name once, without those that a search list makes of it', () => {
  const storm = seen('dns_nxdomain_storm', {
    names: ['a.test', 'b.shop.test', 'b.test'],
    amplified: 'b',
    askedAs: 2,
    ...WEB,
  });
  const other = seen('dns_nxdomain_storm', { names: ['a.test'], ...WEB });
  expect(missingNames([storm, other, storm, failed('/', '500')])).toEqual([
    { name: 'b', askedAs: 2, asker: 'shop/web' },
    { name: 'a.test', askedAs: undefined, asker: 'shop/web' },
  ]);
});
