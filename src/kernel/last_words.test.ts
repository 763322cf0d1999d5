import { expect, it } from 'vitest';
import { Aggregator } from '#collectors/aggregate.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { type LooseEmit, NO_LABELS } from '#probe/metric.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { tcp } from '#probes/tcp.ts';
import { lastWords } from './last_words.ts';

function entity(id: number, pod = `pod${id}`): Entity {
  const common = { kind: 'pod', netns: asNetnsId(id), inum: id, namespace: 'shop', uid: `${id}`, labels: {} } as const;
  return { ...common, pod, isRetired: true };
}

it('distinguishes loss from other trouble and from nothing, and leaves out those that died later', () => {
  const aggregator = new Aggregator(['packetloss', 'tcp', 'udp'], () => false);
  aggregator.addProbe('packetloss', packetloss.metrics, 'core');
  aggregator.addProbe('tcp', tcp.metrics, 'core');
  aggregator.entities.set([1, 2, 3, 4].map((id) => entity(id)));
  const loss = aggregator.begin('packetloss');
  (loss.emit as LooseEmit)('drops', asNetnsId(1), 2n ** 60n, { reason: 'NO_SOCKET' });
  (loss.emit as LooseEmit)('drops', asNetnsId(3), 0, { reason: 'NO_SOCKET' });
  loss.commit();
  const failed = aggregator.begin('tcp');
  for (const [id, fails] of [1, 5, 0, 0].entries())
    (failed.emit as LooseEmit)('attemptFails', asNetnsId(id + 1), fails, NO_LABELS);
  failed.commit();
  const words = lastWords(aggregator, new Set([1, 2, 3].map(asNetnsId)));
  expect([1, 2, 3, 4].map((id) => words(asNetnsId(id)))).toEqual(['loss', 'trouble', 'nothing', undefined]);
});

it('shows nothing for an entity that is hidden because another has its name', () => {
  const aggregator = new Aggregator([], () => false);
  aggregator.entities.set([entity(1, 'web'), entity(2, 'web')]);
  const words = lastWords(aggregator, new Set([1, 2].map(asNetnsId)));
  expect(aggregator.entities.shadowed).toBe(1);
  expect(words(asNetnsId(1))).toBe('nothing');
});
