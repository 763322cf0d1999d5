import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EntityStatus } from '#api/entities.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { nodeObject, podObject } from '../support/api_objects.ts';
import { ApiServer } from '../support/api_server.ts';
import { Containerd, missingForContainerd, type RealPod } from '../support/containerd.ts';
import { readEvent } from '../support/contract.ts';
import { sampleValue } from '../support/exposition.ts';
import { eventually } from '../support/oracle.ts';
import { churnPods } from '../support/pod_churn.ts';

const NODE = 'node-1';
const TIMES = 5;
const HEAP_GROWTH_MAX = 2 * 1024 * 1024;
const IN_USE = 'netsonde_sockets_used';

const missing = missingForContainerd();
const IS_REQUIRED = process.env['CI'] !== undefined;

describe.skipIf(missing !== undefined && !IS_REQUIRED)('real Pods, by containerd, runc and CNI', () => {
  const resources = new AsyncDisposableStack();
  let server: ApiServer;
  let containerd: Containerd;
  let agent: AgentProcess;
  let client: RealPod;
  let target: RealPod;

  /** Starts a Pod and adds it to the API server. */
  async function start(name: string, hostNetwork = false): Promise<RealPod> {
    const pod = await containerd.run({ name, namespace: 'shop', hostNetwork });
    const labels = { 'app.kubernetes.io/name': name };
    const owner = { kind: 'StatefulSet', name: `${name}-set` };
    server.put('pods', podObject({ uid: pod.uid, name, namespace: 'shop', labels, owner, ips: [pod.ip], hostNetwork }));
    return pod;
  }

  beforeAll(async () => {
    if (missing !== undefined) throw new Error(`${missing} is missing: scripts/setup --test installs it`);
    server = resources.use(await ApiServer.start());
    server.put('nodes', nodeObject(NODE, ['10.209.0.1']));
    containerd = resources.use(await Containerd.start());
    const folder = resources.use(await mkdtempDisposable(join(tmpdir(), 'real-pods-')));
    const config = join(folder.path, 'config.yaml');
    writeFileSync(config, 'labels: { app: app.kubernetes.io/name, workload: "@workload" }\n');
    agent = resources.use(
      await AgentProcess.serve(['--kubernetes', 'on', '--config', config], [], server.environment(NODE)),
    );
    client = await start('client');
    target = await start('target');
  });

  afterAll(() => resources.disposeAsync());

  it('metrics carry namespace, Pod and configured labels', async () => {
    for (const { name, uid, ip } of [client, target]) {
      await eventually(async () => {
        const labels = { namespace: 'shop', pod: name, app: name, workload: `${name}-set` };
        expect(sampleValue(await agent.page(), IN_USE, labels)).toBeDefined();
      });
      const { entities } = await agent.json<{ entities: EntityStatus[] }>('/api/v1/entities');
      const entity = entities.find((candidate) => candidate.uid === uid);
      expect(entity).toMatchObject({ kind: 'pod', namespace: 'shop', pod: name, labels: { app: name } });
      expect(entity?.ips).toContain(ip);
    }
  });

  it('events carry them too, and the Pod that is their peer', async () => {
    // tftp sends a datagram to a closed port.
    await client.exec('/bin/timeout', '1', '/bin/tftp', '-g', '-r', 'file', target.ip, '7003');
    const event = await eventually(() => {
      const found = agent.stdout
        .split('\n')
        .filter((line) => line.includes('"packet_drop"') && line.includes(':7003"') && line.endsWith('}'))
        .map(readEvent)[0];
      if (found === undefined) throw new Error('no event yet');
      return found;
    });
    expect(event).toMatchObject({
      node: NODE,
      namespace: 'shop',
      pod: 'target',
      labels: { app: 'target', workload: 'target-set' },
      peer: { kind: 'pod', namespace: 'shop', name: 'client', ip: client.ip },
      dst: `${target.ip}:7003`,
      reason: 'NO_SOCKET',
    });
  });

  it('Pods with hostNetwork are listed, and count for the node', async () => {
    const host = await start('host', true);
    await eventually(async () => {
      const { entities } = await agent.json<{ entities: EntityStatus[] }>('/api/v1/entities');
      const [node, ...others] = entities.filter(({ kind }) => kind === 'node');
      expect(others).toEqual([]);
      const listed = { kind: 'pod', pod: 'host', netns: node?.netns, sharesNode: true };
      expect(entities.filter(({ uid }) => uid === host.uid)).toMatchObject([listed]);
    });
    const { samples } = await agent.page();
    expect(samples.filter(({ labels }) => labels['pod'] === 'host')).toEqual([]);
    await host.remove();
    server.delete('pods', host.uid);
  });

  it(`${TIMES} Pods, created and deleted one after the other, leave nothing behind`, async () => {
    const { heapGrowth } = await churnPods(server, containerd, NODE, TIMES);
    expect(heapGrowth).toBeLessThan(HEAP_GROWTH_MAX);
  });
});
