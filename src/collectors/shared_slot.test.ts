import { beforeEach, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, hostPodId, type NetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { defineMetrics, type LooseEmit, NO_LABELS } from '#probe/metric.ts';
import { parseExposition } from '../../test/support/exposition.ts';
import { Aggregator } from './aggregate.ts';
import { TextWriter } from './text_writer.ts';

const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core', type: 'counter', labels: {} } as const;
const metrics = defineMetrics({
  ofNamespace: { ...base, name: 'netsonde_of_namespace_total' },
  ofSockets: { ...base, name: 'netsonde_of_sockets_total' },
});

const NODE = asNetnsId(1);
const MADE = asNetnsId(2);
const MADE_LATER = asNetnsId(3);
const SHARED = hostPodId(1);
const NEXT = hostPodId(2);

function entity(netns: NetnsId, pod: string, uid: string, isRetired = false): Entity {
  const shared = netns === SHARED || netns === NEXT ? { sharedNetns: NODE } : {};
  return { kind: 'pod', netns, inum: 0, namespace: 'x', pod, uid, labels: {}, isRetired, ...shared };
}

const node: Entity = { kind: 'node', netns: NODE, inum: 0, namespace: '', pod: '', uid: '', labels: {} };
const dns = (netns: NetnsId, isRetired = false) => entity(netns, 'dns', 'uid-dns', isRetired);

let aggregator: Aggregator;
beforeEach(() => {
  aggregator = new Aggregator(['test'], () => true);
  aggregator.addProbe('test', metrics, 'core');
});

async function collect(ofNamespace: readonly [NetnsId, number][], ofSockets: readonly [NetnsId, number][]) {
  const batch = aggregator.begin('test');
  const emit = batch.emit as LooseEmit;
  for (const [id, value] of ofNamespace) emit('ofNamespace', id, value, NO_LABELS);
  for (const [id, value] of ofSockets) emit('ofSockets', id, value, NO_LABELS);
  batch.commit();
  const writer = new TextWriter();
  await aggregator.render(writer, 'text', freeCycle());
  const { samples } = parseExposition(Buffer.concat(writer.finish()).toString());
  return samples.map(({ name, labels, value }) => `${name.slice('netsonde_'.length)} ${labels['pod']} ${value}`);
}

it('a Pod that shares the node’s namespace has rows of its own, none where nothing knows it', async () => {
  aggregator.entities.set([node, dns(SHARED)]);
  expect(await collect([[NODE, 7]], [[SHARED, 3]])).toEqual(['of_namespace_total  7', 'of_sockets_total dns 3']);
  expect(aggregator.entities.countByKind().get('pod')).toBe(1);
});

it.each([
  ['the namespace first', [dns(MADE), dns(SHARED)]],
  ['the Pod first', [dns(SHARED), dns(MADE)]],
])('and a namespace that it has made are one: %s', async (_, entities) => {
  aggregator.entities.set([node, ...entities]);
  const both = ['of_namespace_total dns 5', 'of_sockets_total dns 3'];
  expect(await collect([[MADE, 5]], [[SHARED, 3]])).toEqual(both);
  expect(aggregator.entities.shadowed).toBe(0);
  // Only the first of the Pod's own namespaces is shown.
  aggregator.entities.set([node, dns(MADE), dns(MADE_LATER), dns(SHARED)]);
  const many: [NetnsId, number][] = [
    [MADE, 5],
    [MADE_LATER, 50],
  ];
  expect(await collect(many, [[SHARED, 3]])).toEqual(both);
});

it('rows continue when a namespace that the Pod has made comes and goes', async () => {
  const { entities } = aggregator;
  entities.set([node, dns(SHARED)]);
  await collect([], [[SHARED, 3]]);
  const slot = entities.attribute(SHARED);
  entities.set([node, dns(MADE), dns(SHARED)]);
  expect([entities.attribute(SHARED), entities.attribute(MADE)]).toEqual([slot, slot]);
  expect(await collect([[MADE, 5]], [[SHARED, 4]])).toEqual(['of_namespace_total dns 5', 'of_sockets_total dns 4']);
  entities.set([node, dns(SHARED), dns(MADE, true)]);
  expect([entities.attribute(SHARED), entities.attribute(MADE)]).toEqual([slot, 'shadowed']);
  expect(await collect([], [[SHARED, 5]])).toContain('of_sockets_total dns 5');
  // The slot becomes free when both namespaces are gone.
  entities.set([node, dns(SHARED), entity(MADE_LATER, 'other', 'uid-other')]);
  expect(entities.attribute(MADE_LATER)).not.toBe(slot);
  entities.set([node, dns(SHARED)]);
  entities.set([node]);
  entities.set([node, entity(MADE_LATER, 'other', 'uid-other')]);
  expect(entities.attribute(MADE_LATER)).toBe(slot);
  expect(await collect([], [])).toEqual([]);
});

it('two that had rows of their own become one: those of the Pod stay', async () => {
  const { entities } = aggregator;
  entities.set([node, entity(MADE, 'blue', ''), dns(SHARED)]);
  await collect([[MADE, 5]], [[SHARED, 3]]);
  const slot = entities.attribute(SHARED);
  expect(entities.attribute(MADE)).not.toBe(slot);
  entities.set([node, dns(MADE), dns(SHARED)]);
  expect([entities.attribute(SHARED), entities.attribute(MADE)]).toEqual([slot, slot]);
  expect(await collect([[MADE, 6]], [[SHARED, 3]])).toEqual(['of_namespace_total dns 6', 'of_sockets_total dns 3']);
});

it('is shown like others after its end, and gives way to a later Pod of the same name', async () => {
  aggregator.entities.set([node, dns(SHARED)]);
  await collect([], [[SHARED, 3]]);
  aggregator.entities.set([node, dns(SHARED, true)]);
  expect(await collect([], [])).toEqual(['of_sockets_total dns 3']);
  aggregator.entities.set([node, entity(NEXT, 'dns', 'uid-next'), dns(SHARED, true)]);
  expect(await collect([], [[NEXT, 1]])).toEqual(['of_sockets_total dns 1']);
});
