import { expect, it } from 'vitest';
import type { MapNode } from '#api/map.ts';
import { mapNode } from '../../../../test/support/map_reports.ts';
import { faultsIn } from './faults.ts';
import type { Trouble } from './verdict.ts';

const nodes = {
  web: mapNode('workload', 'shop', 'web'),
  search: mapNode('workload', 'shop', 'search'),
  searchService: mapNode('service', 'shop', 'search'),
  unknown: mapNode('unknown', '', ''),
  pending: mapNode('pending', '', ''),
  outside: mapNode('external', '', ''),
};

function edge(
  id: string,
  source: MapNode,
  target: MapNode,
  kind: Trouble['kind'],
  grade: Trouble['grade'] = 'alert',
  protocol: 'tcp' | 'udp' = 'tcp',
) {
  const trouble = { kind, grade, text: '', measure: 'failed', short: '', cause: '' } as const;
  return { id, source, target, protocol, trouble };
}

const told = (...edges: ReturnType<typeof edge>[]) =>
  faultsIn(edges).map(({ edge: { id }, others }) => [id, ...others.map((other) => other.id)].join(' '));

it('are the edges between the same names, whatever their ports and kinds of boxes are', () => {
  const { web, search, searchService } = nodes;
  expect(
    told(
      edge('80', web, searchService, 'timeout'),
      edge('9', search, web, 'lossy'),
      edge('8080', web, search, 'timeout', 'notice'),
      edge('udp', web, search, 'denied', 'notice', 'udp'),
    ),
  ).toEqual(['80 8080', '9', 'udp']);
});

it('are shown by an edge whose cause an event reports, unless another edge is worse', () => {
  const { web, search } = nodes;
  expect(told(edge('80', web, search, 'timeout'), edge('8080', web, search, 'full'))).toEqual(['8080 80']);
  expect(told(edge('80', web, search, 'timeout'), edge('8080', web, search, 'full', 'notice'))).toEqual(['80 8080']);
});

it('of a client without a name belong to a named client with the same problem at the same server', () => {
  const { web, search, unknown, pending, outside } = nodes;
  const named = edge('web', web, search, 'full');
  expect(told(edge('?', unknown, search, 'full'), edge('later', pending, search, 'full'), named)).toEqual([
    'web ? later',
  ]);
  expect(told(edge('?', unknown, search, 'refused'), named)).toEqual(['?', 'web']);
  expect(told(edge('outside', outside, search, 'full'), named)).toEqual(['outside', 'web']);
  expect(told(edge('?', unknown, search, 'full'), edge('later', pending, search, 'full'))).toEqual(['? later']);
});

it('do not mix a workload with a peer outside that has its name', () => {
  const { web, search } = nodes;
  const other = { ...mapNode('external', '', 'shop/search') };
  expect(told(edge('in', web, search, 'refused'), edge('out', web, other, 'refused'))).toHaveLength(2);
});
