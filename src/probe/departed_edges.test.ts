import { expect, it } from 'vitest';
import { asNetnsId, FORGOTTEN, type NetnsId } from '#core/netns.ts';
import { DepartedEdges } from './departed_edges.ts';
import type { DatagramTotals } from './flow_edges.ts';

const PORTS = 5;

function totalsOf(netns: NetnsId, port: number, role: DatagramTotals['role'] = 'client'): DatagramTotals {
  const identity = { kind: 'workload', namespace: 'shop', name: 'cart' } as const;
  const counts = { sentBytes: 1, receivedBytes: 0, sentDatagrams: 1, receivedDatagrams: 0 };
  return { netns, role, peer: '10.0.0.7', identity, port, ...counts };
}

function newEdges(): DepartedEdges<DatagramTotals> {
  return new DepartedEdges((a, b) => ({ ...a, sentBytes: Number(a.sentBytes) + Number(b.sentBytes) }));
}

function bytesOf(edges: Iterable<DatagramTotals>): number {
  return [...edges].reduce((sum, { sentBytes }) => sum + Number(sentBytes), 0);
}

it('there are as many sums after a thousand Pods as after the first ones, and all of their counts', () => {
  const edges = newEdges();
  const sizes = [0, 1_000].map((first) => {
    for (let pod = first; pod < first + 1_000; pod++) {
      for (let port = 0; port < PORTS; port++) edges.add(totalsOf(asNetnsId(1 + pod), port));
      edges.add(totalsOf(asNetnsId(1 + pod), 80, 'server'));
      edges.forget((netns) => Number(netns) <= pod - 1);
    }
    return [...edges].length;
  });
  // Two Pods are remembered. The others have a sum for each role.
  expect(sizes).toEqual([2 * (PORTS + 1) + 2, 2 * (PORTS + 1) + 2]);
  expect(bytesOf(edges)).toBe(2_000 * (PORTS + 1));
  const forgotten = [...edges].filter(({ netns }) => netns === FORGOTTEN);
  expect(forgotten.map(({ role, peer, identity, port, sentBytes }) => [role, peer, identity, port, sentBytes])).toEqual(
    [
      ['client', null, undefined, 0, 1_998 * PORTS],
      ['server', null, undefined, 0, 1_998],
    ],
  );
});

it('no counts are lost if there are too many sums', () => {
  const edges = newEdges();
  for (let port = 0; port < 5_000; port++) edges.add(totalsOf(asNetnsId(2), port));
  expect([...edges]).toHaveLength(4_096 + 1);
  expect(bytesOf(edges)).toBe(5_000);
});
