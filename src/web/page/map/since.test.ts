import { expect, it } from 'vitest';
import type { MapEdge } from '#api/map.ts';
import { MAP_START_MS, mapEdge, mapNode, mapReport } from '../../../../test/support/map_reports.ts';
import { clock } from '../format.ts';
import { MapBook } from './book.ts';
import { Directory } from './directory.ts';
import { snapshotOf } from './model.ts';
import { sinceText } from './since.ts';

const [CLIENT, SERVER] = [mapNode('workload', 'shop', 'checkout'), mapNode('workload', 'shop', 'orders')];

/** Describes the edge after a reading every ten seconds. @param totals numbers of established and refused connections */
function since(...totals: readonly (readonly [connections: number, refused: number])[]): string {
  const book = new MapBook();
  for (const [index, [connections, refused]] of totals.entries()) {
    const edge: MapEdge = { ...mapEdge(CLIENT, SERVER, 80), connections, sentBytes: connections, failed: { refused } };
    book.add(mapReport([CLIENT, SERVER], [edge], 10 * index));
  }
  const [edge] = snapshotOf(book, [], new Directory([], [], []))?.edges ?? [];
  return edge === undefined ? '' : sinceText(book, edge);
}

it('a problem began after the last period in which connections were normal', () => {
  expect(since([0, 0], [5, 0], [5, 5], [5, 9])).toBe(`It began at about ${clock(MAP_START_MS + 10_000)}.`);
});

it('periods without an attempt neither end nor begin a problem', () => {
  expect(since([0, 0], [5, 0], [5, 5], [5, 5], [5, 9])).toBe(`It began at about ${clock(MAP_START_MS + 10_000)}.`);
  expect(since([0, 0], [0, 5], [0, 5], [0, 9])).toBe('It began before this page saw the edge.');
});
