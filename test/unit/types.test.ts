import { expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { defineMetrics, type Emit, NODE } from '#probe/metric.ts';

const base = { type: 'counter', help: 'x.', source: 'x', detail: 'core' } as const;

const metrics = defineMetrics({
  pod: { ...base, name: 'netsonde_pod_total', scope: 'pod', labels: {} },
  node: { ...base, name: 'netsonde_node_total', scope: 'node', labels: {} },
  closed: {
    ...base,
    name: 'netsonde_closed_total',
    scope: 'pod',
    labels: { family: { help: 'x.', values: ['ipv4', 'ipv6'] } },
  },
});

/** This code never runs. Each line below a `@ts-expect-error` must not compile. */
function mistakes(emit: Emit<typeof metrics>): void {
  const id = asNetnsId(1);
  emit('pod', id, 1, {});
  emit('node', NODE, 1, {});
  emit('closed', id, 1, { family: 'ipv4' });
  // @ts-expect-error no such metric
  emit('pods', id, 1, {});
  // @ts-expect-error a node metric for a Pod
  emit('node', id, 1, {});
  // @ts-expect-error a Pod metric for the node
  emit('pod', NODE, 1, {});
  // @ts-expect-error a missing label
  emit('closed', id, 1, {});
  // @ts-expect-error a value that the label does not have
  emit('closed', id, 1, { family: 'ipv5' });
  // @ts-expect-error a plain number instead of a NetnsId
  emit('pod', 1, 1, {});
  // @ts-expect-error a value that is not a number
  emit('pod', id, '1', {});
}

it('invalid samples of a probe do not compile', () => expect(mistakes).toBeTypeOf('function'));
