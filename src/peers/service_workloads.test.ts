import { expect, it } from 'vitest';
import { serviceWorkloads } from './service_workloads.ts';

const pod = (workload: string, services: readonly string[], namespace = 'shop') => ({
  namespace,
  workload: { kind: 'Deployment', name: workload },
  services,
});

function found(...pods: ReturnType<typeof pod>[]) {
  const all = serviceWorkloads(pods, ({ services }) => services);
  return Object.fromEntries(all.map(({ namespace, service, workload }) => [`${namespace}/${service}`, workload]));
}

it('the workload behind a Service is that of all its Pods, whatever their names are', () => {
  expect(found(pod('web', ['front', 'metrics']), pod('web', ['front']), pod('db', []))).toEqual({
    'shop/front': 'web',
    'shop/metrics': 'web',
  });
  expect(found(pod('web', ['front']), pod('site', ['front'], 'other'))).toEqual({
    'shop/front': 'web',
    'other/front': 'site',
  });
});

it('is unknown for a Service with Pods of several workloads, in any order', () => {
  const [web, canary] = [pod('web', ['web']), pod('canary', ['web', 'canary'])];
  for (const pods of [
    [web, web, canary],
    [canary, web, web],
    [web, canary, web],
  ]) {
    expect(found(...pods)).toEqual({ 'shop/canary': 'canary' });
  }
});
