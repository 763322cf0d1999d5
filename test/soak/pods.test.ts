import { expect, it } from 'vitest';
import { nodeObject } from '../support/api_objects.ts';
import { ApiServer } from '../support/api_server.ts';
import { updateConfigMap } from '../support/configmap.ts';
import { Containerd } from '../support/containerd.ts';
import { churnPods } from '../support/pod_churn.ts';
import { APPLIED_WITHIN_MS } from '../support/soak.ts';

const NODE = 'node-1';
const PODS = 100;
const UPDATES = 200;
const HEAP_GROWTH_MAX = 2 * 1024 * 1024;

it(`${PODS} Pods, created and deleted one after the other, leave nothing behind`, async () => {
  await using server = await ApiServer.start();
  server.put('nodes', nodeObject(NODE));
  await using containerd = await Containerd.start();
  const { heapGrowth } = await churnPods(server, containerd, NODE, PODS);
  process.stdout.write(`the heap grew by ${heapGrowth} bytes\n`);
  expect(heapGrowth).toBeLessThan(HEAP_GROWTH_MAX);
}, 600_000);

it(`${UPDATES} updates of a ConfigMap through the API, each applied within a second`, async () => {
  await using server = await ApiServer.start();
  const slowestMs = await updateConfigMap(server, UPDATES);
  process.stdout.write(`slowest ${Math.round(slowestMs)} ms\n`);
  expect(slowestMs).toBeLessThan(APPLIED_WITHIN_MS);
}, 600_000);
