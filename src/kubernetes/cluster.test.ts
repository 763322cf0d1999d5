import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { nodeObject } from '../../test/support/api_objects.ts';
import { ApiServer } from '../../test/support/api_server.ts';
import { eventually } from '../../test/support/oracle.ts';
import { Cluster } from './cluster.ts';
import { openSession } from './session.ts';

interface Scene extends AsyncDisposable {
  readonly server: ApiServer;
  readonly cluster: Cluster;
  readonly log: string[];
  /** The Pod networks that were reported, one entry per report. */
  readonly told: (readonly string[])[];
}

async function connect(node: string, nodes: readonly string[]): Promise<Scene> {
  const server = await ApiServer.start();
  for (const name of nodes) server.put('nodes', nodeObject(name));
  // In some clouds, the label with the host name differs from the node's name.
  server.put('nodes', {
    metadata: { uid: randomUUID(), name: 'gke-7', labels: { 'kubernetes.io/hostname': 'ip-10-0-0-7' } },
  });
  const log: string[] = [];
  const told: (readonly string[])[] = [];
  const cluster = new Cluster({
    session: openSession(server.kubeconfig),
    node,
    log: (level, message) => log.push(`${level} ${message}`),
    pods: () => undefined,
    nodeLabels: () => undefined,
    podNetworks: (networks) => told.push(networks),
    spreadMs: 0,
  });
  return {
    told,
    server,
    cluster,
    log,
    [Symbol.asyncDispose]: async () => {
      await cluster[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe.concurrent('a name of the node that the API does not know', () => {
  it.each([
    ['N6', 'did you mean n6?'],
    ['n6', 'did you mean N6?'],
    ['n6.example.com', 'did you mean n6?'],
    ['n6', 'did you mean n6.example.com?'],
    ['ip-10-0-0-7.internal', 'did you mean gke-7?'],
    ['10.0.0.6', 'it has n6, gke-7'],
  ])('%s is reported with names like it: %s', async (node, hint) => {
    const other = /mean (\S+)\?/.exec(hint)?.[1] ?? 'n6';
    await using scene = await connect(node, other === 'gke-7' ? [] : [other]);
    const { cluster, log } = scene;
    await eventually(() => expect(log).toHaveLength(1));
    expect(log[0]).toMatch(/^warn node: .* has no node \S+, so Pods have no names; set NODE_NAME to spec.nodeName; /);
    expect(log[0]).toContain(hint);
    expect(cluster.state).toMatchObject({ connected: false, trouble: expect.stringContaining(hint) });
  });

  it('is right once the node exists', async () => {
    await using scene = await connect('n6', []);
    const { server, cluster, log } = scene;
    await eventually(() => expect(log).toHaveLength(1));
    server.put('nodes', nodeObject('n6'));
    await eventually(() => expect(cluster.state).toMatchObject({ connected: true, trouble: undefined }));
    expect(log[1]).toMatch(/^info node: .* now has the node n6$/);
  });
});

it.each([
  ['takes connections and sends nothing', () => createServer(() => undefined)],
  ['does not take them', undefined],
])('ends at once where the API server %s', async (_, make) => {
  await using server = await ApiServer.start();
  const session = openSession(server.kubeconfig);
  await server.kill();
  const silent = make?.();
  if (silent !== undefined)
    await new Promise<void>((resolve) => silent.listen(Number(new URL(server.url).port), '127.0.0.1', resolve));
  const cluster = new Cluster({
    session,
    node: 'n6',
    log: () => undefined,
    pods: () => undefined,
    nodeLabels: () => undefined,
    podNetworks: () => undefined,
  });
  await cluster.listed(50);
  // If closing waited for the response timeout, this test would time out.
  await cluster[Symbol.asyncDispose]();
  expect(cluster.state.connected).toBe(false);
  silent?.close();
});

it('the networks of the Pods are told, and told again once they are others', async () => {
  await using scene = await connect('n6', []);
  const { server, told } = scene;
  const put = (podCIDRs: readonly string[], labels = {}) =>
    server.put('nodes', { metadata: { uid: 'n6', name: 'n6', labels }, spec: { podCIDRs } });
  put(['10.4.0.0/24', 'fd04::/64']);
  await eventually(() => expect(told).toEqual([['10.4.0.0/24', 'fd04::/64']]));
  put(['10.4.0.0/24', 'fd04::/64'], { zone: 'a' });
  put(['10.5.0.0/24']);
  await eventually(() => expect(told).toEqual([['10.4.0.0/24', 'fd04::/64'], ['10.5.0.0/24']]));
});

it('refusals are reported, that of Pods before all others', async () => {
  await using scene = await connect('n6', ['n6']);
  const { server, cluster } = scene;
  await eventually(() => expect(cluster.state.connected).toBe(true));
  server.mood = { kind: 'fails', status: 403 };
  server.resetStreams();
  await eventually(() => expect(cluster.state).toMatchObject({ connected: false }));
  await eventually(() =>
    expect(cluster.state.trouble).toMatch(/^pods: .* 403 .*needs permission to list and watch pods/),
  );
});
