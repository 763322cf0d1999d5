import { expect, it } from 'vitest';
import type { PodName } from './facts.ts';
import { labelValues } from './labels.ts';

const POD: PodName = {
  uid: 'u',
  namespace: 'shop',
  name: 'web-0',
  labels: { app: 'web', long: 'x'.repeat(300) },
  workload: { kind: 'StatefulSet', name: 'web' },
  hostNetwork: false,
  createdMs: 0,
  ips: [],
};

it('a label of the Pod, or its workload; empty if there is none', () => {
  const labels = { app: 'app', tier: 'tier', workload: '@workload', kind: '@workload_kind' };
  expect(labelValues(labels, POD)).toEqual({ app: 'web', tier: '', workload: 'web', kind: 'StatefulSet' });
  expect(labelValues(labels, undefined)).toEqual({ app: '', tier: '', workload: '', kind: '' });
  expect(labelValues({ long: 'long' }, POD)['long']).toHaveLength(253);
});

it.each(['constructor', 'toString', 'valueOf', 'hasOwnProperty'])(
  'a label called %s, which every object has, is empty if the Pod has none',
  (name) => {
    expect(labelValues({ role: name }, POD)).toEqual({ role: '' });
    expect(labelValues({ role: name }, { ...POD, labels: JSON.parse(`{"${name}":"db"}`) })).toEqual({ role: 'db' });
    expect(labelValues({ [name]: 'app' }, POD)).toEqual(JSON.parse(`{"${name}":"web"}`));
  },
);
