import { expect, it } from 'vitest';
import { Aggregator } from '#collectors/aggregate.ts';
import { asNetnsId, hostPodId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { type LooseEmit, NO_LABELS } from '#probe/metric.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { tcp } from '#probes/tcp.ts';
import { troubleOf } from './trouble.ts';

const DROPS = packetloss.metrics.drops.name;
const SENT = tcp.metrics.sentSegments.name;

function entity(kind: Entity['kind'], id: number, pod: string, isRetired = false): Entity {
  const namespace = kind === 'node' ? '' : 'shop';
  return { kind, netns: asNetnsId(id), inum: id, namespace, pod, uid: '', labels: {}, isRetired };
}

function collect(aggregator: Aggregator, probe: string, put: (emit: LooseEmit) => void): void {
  const batch = aggregator.begin(probe);
  put(batch.emit as LooseEmit);
  batch.commit();
}

it('sums over labels, distinguishes zero from no value, and includes the dead', () => {
  const aggregator = new Aggregator(['packetloss', 'tcp', 'udp'], () => false);
  aggregator.addProbe('packetloss', packetloss.metrics, 'core');
  aggregator.addProbe('tcp', tcp.metrics, 'core');
  const living = [entity('node', 1, ''), entity('pod', 2, 'web'), entity('pod', 3, 'db')];
  // This Pod shares the node's namespace. None of these metrics is counted for it.
  living.push({ ...entity('pod', 0, 'dns'), netns: hostPodId(1), sharedNetns: asNetnsId(1) });
  aggregator.entities.set(living);
  const dropped = (emit: LooseEmit) => {
    emit('drops', asNetnsId(2), 3, { reason: 'NO_SOCKET' });
    emit('drops', asNetnsId(2), 2n ** 40n, { reason: 'NETFILTER_DROP' });
  };
  collect(aggregator, 'packetloss', dropped);
  collect(aggregator, 'tcp', (emit) => emit('sentSegments', asNetnsId(2), 7, NO_LABELS));
  const read = () => {
    const { metrics, entities } = troubleOf(aggregator, new Date(0));
    const value = (values: readonly unknown[], name: string) => values[metrics.indexOf(name)];
    return entities.map(({ pod, gone, values }) => [pod, gone, value(values, DROPS), value(values, SENT)]);
  };
  expect(read()).toEqual([
    ['', false, 0, null],
    ['web', false, 2 ** 40 + 3, 7],
    ['db', false, 0, null],
  ]);
  aggregator.entities.set([...living.slice(0, 1), entity('pod', 2, 'web', true)]);
  // The values of a failed collection must not be read as zeros.
  aggregator.begin('packetloss').discard();
  expect(read()).toEqual([
    ['', false, null, null],
    ['web', true, null, 7],
  ]);
  collect(aggregator, 'packetloss', () => undefined);
  aggregator.removeProbe('tcp');
  expect(read()).toEqual([
    ['', false, 0, null],
    ['web', true, 2 ** 40 + 3, null],
  ]);
});
