import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { EntityStatus } from '#api/entities.ts';
import { AgentProcess } from './agent_process.ts';
import { podObject } from './api_objects.ts';
import type { ApiServer } from './api_server.ts';
import type { Containerd } from './containerd.ts';
import { sampleValue } from './exposition.ts';
import { eventually } from './oracle.ts';
import { HEAP_PROBE, heapOf, settle } from './toggle.ts';

const NAMESPACE = 'churn';
/** Number of Pods to create before the first measurement. They cause all one-time allocations. */
const WARM = 3;
/** Number of attached programs that the agent may detach during the test. Each has a descriptor. */
const DETACHED = 1;
/**
 * Shows ended Pods only briefly so that the test need not wait for their rows to disappear. Watches only Pods and
 * nodes, because the agent starts to watch Services up to 40 s later and opens more connections for them.
 */
const CONFIG = 'peers: node\nprobes: { lifecycle: { retire: 100ms } }';

export interface ChurnReport {
  /** Increase of the agent's heap size in bytes. */
  readonly heapGrowth: number;
}

/**
 * Creates and deletes Pods one after the other. Checks that the agent shows each Pod under its name, and that it
 * retains no memory of deleted Pods at the end.
 */
export async function churnPods(
  server: ApiServer,
  containerd: Containerd,
  node: string,
  times: number,
): Promise<ChurnReport> {
  using cleanup = new DisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'churn-'));
  cleanup.defer(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'netsonde.yaml');
  writeFileSync(file, CONFIG);
  await using agent = await AgentProcess.serve(['--kubernetes', 'on', '--config', file], [], {
    ...server.environment(node),
    ...HEAP_PROBE,
  });
  const series = async () => (await agent.page()).samples.filter(({ labels }) => labels['namespace'] === NAMESPACE);
  const one = async (index: number) => {
    const pod = await containerd.run({ name: `pod-${index}`, namespace: NAMESPACE });
    server.put('pods', podObject({ uid: pod.uid, name: pod.name, namespace: NAMESPACE, node, ips: [pod.ip] }));
    const labels = { namespace: NAMESPACE, pod: pod.name };
    await eventually(async () =>
      expect(sampleValue(await agent.page(), 'netsonde_sockets_used', labels)).toBeDefined(),
    );
    await pod.remove();
    server.delete('pods', pod.uid);
    await eventually(async () => expect(await series()).toEqual([]));
  };
  for (let index = 0; index < WARM; index++) await one(index);
  await settle(agent);
  const before = { descriptors: agent.descriptors, heap: await heapOf(agent) };
  for (let index = 0; index < times; index++) await one(WARM + index);
  // The agent detaches one copy of a program once the kernel has skipped no run for a minute (TcpEndsObject).
  const expected = [before.descriptors, before.descriptors - DETACHED];
  await eventually(() => expect(expected).toContain(agent.descriptors));
  const { entities } = await agent.json<{ entities: EntityStatus[] }>('/api/v1/entities');
  expect(entities.filter(({ namespace }) => namespace === NAMESPACE)).toEqual([]);
  expect(sampleValue(await agent.page(), 'netsonde_kubernetes_objects', { resource: 'pods' })).toBe(
    server.list('pods').length,
  );
  return { heapGrowth: (await heapOf(agent)) - before.heap };
}
