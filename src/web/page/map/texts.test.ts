import { describe, expect, it } from 'vitest';
import { mapNode } from '../../../../test/support/map_reports.ts';
import type { Box } from './picture.ts';
import {
  endsOf,
  fitted,
  labelOfBox,
  membersText,
  outsideText,
  thickness,
  underName,
  unplacedText,
  widthOf,
} from './texts.ts';

it('names are shortened in the middle, by the width of their letters', () => {
  expect(fitted('checkout')).toBe('checkout');
  expect(fitted('recommendation-service-v2')).toBe('recommen…vice-v2');
  expect(widthOf(fitted('推荐服务推荐服务推荐服务'))).toBeLessThanOrEqual(16);
  expect(fitted('x'.repeat(100_000))).toHaveLength(16);
});

it('lines are thicker by the power of ten, within limits', () => {
  expect([0, 1, 1e3, 1e5, 1e7, 1e15].map(thickness)).toEqual([1, 1, 1, 3.3, 5.6, 7]);
});

it.each([
  [['local', 'local'], '2 namespaces'],
  [['node'], '1 node'],
  [['workload', 'workload', 'service'], '3 workloads'],
] as const)('a group of %j is %s', (kinds, text) => {
  expect(membersText({ members: kinds.map((_, index) => `n${index}`), memberKinds: new Set(kinds) })).toBe(text);
});

it('ends without a name are named by their kind', () => {
  const ends = { source: mapNode('workload', 'shop', 'cart'), target: mapNode('unknown', '', '') };
  expect(endsOf(ends)).toBe('shop/cart → unknown');
});

it('a box is named by the text that it shows, and then by the rest', () => {
  const box: Box = {
    id: 'a',
    band: 'shop',
    isLast: false,
    title: 'recommendation-service-v2',
    fullTitle: 'shop/recommendation-service-v2',
    kind: 'workload',
    members: ['a'],
    memberKinds: new Set(['workload']),
    state: 'ok',
    bytesRate: 2_000,
    troubles: 1,
  };
  expect(labelOfBox(box, '2 kB/s')).toBe(
    'recommen…vice-v2, 2 kB/s, shop/recommendation-service-v2, workload, 1 in trouble',
  );
  const hub = { ...box, title: 'prometheus', fullTitle: 'prometheus', troubles: 0 };
  expect(labelOfBox(hub, 'asks 11')).toBe('prometheus, asks 11, workload, 2 kB/s, no trouble');
});

it('the box of a Service says that it is one, because the workload behind it may have the same name', () => {
  const service = { kind: 'service', isLast: false, bytesRate: 2_000 } as Box;
  expect(underName(service, undefined, 0)).toBe('Service 2 kB/s');
  expect(underName({ ...service, bytesRate: 0 }, undefined, 0)).toBe('Service');
});

describe('drops that no line shows', () => {
  it('have reasons, the most surprising first', () => {
    expect(unplacedText({ unowned: 2, otherProtocol: 1, withoutEdge: 3 }, 'off')).toBe(
      ' No line shows 6 packets dropped in the last minute: 3 between ends without a connection on this map; 1 not TCP; 2 in network namespaces that belong to no Pod or node of this agent.',
    );
    expect(unplacedText({ unowned: 0, otherProtocol: 1, withoutEdge: 0 }, 'shown')).toBe(
      ' No line shows 1 packet dropped in the last minute: 1 neither TCP nor UDP.',
    );
  });

  it('have no sentence if there are none', () => {
    expect(unplacedText({ unowned: 0, otherProtocol: 0, withoutEdge: 0 }, 'off')).toBe('');
  });
});

it('addresses outside of the cluster are listed, a few of them', () => {
  expect(outsideText({ outside: [] })).toBe('');
  expect(outsideText({ outside: ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.5'] })).toBe(
    '; outside: 192.0.2.1, 192.0.2.2, 192.0.2.3 and 2 more',
  );
});
