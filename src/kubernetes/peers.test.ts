import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import {
  endpointSliceObject,
  nodeObject,
  type PodGiven,
  podObject,
  serviceObject,
} from '../../test/support/api_objects.ts';
import { ApiServer } from '../../test/support/api_server.ts';
import { eventually } from '../../test/support/oracle.ts';
import { PeerResolver } from '../peers/resolver.ts';
import { Cluster } from './cluster.ts';
import { openSession } from './session.ts';

interface Scene extends AsyncDisposable {
  readonly server: ApiServer;
  readonly cluster: Cluster;
  readonly resolver: PeerResolver;
  /** Addresses whose owners were reported as changed. */
  readonly changed: Set<string>;
}

const DEPLOYMENT: Partial<PodGiven> = {
  labels: { 'pod-template-hash': '6d4cf56db6' },
  owner: { kind: 'ReplicaSet', name: 'web-6d4cf56db6' },
};

/** Starts an API server with two nodes, and the connection of node-1 to it. */
async function connect(more: (server: ApiServer) => void = () => undefined, ownIps = ['192.0.2.10']): Promise<Scene> {
  const server = await ApiServer.start();
  server.put('nodes', nodeObject('node-1', ownIps, ['10.1.0.0/24'], 'zone-a'));
  server.put('nodes', nodeObject('node-2', ['192.0.2.20'], ['10.2.0.0/24'], 'zone-b'));
  server.put('pods', podObject({ ...DEPLOYMENT, name: 'web-6d4cf56db6-a', namespace: 'shop', ips: ['10.1.0.1'] }));
  server.put('services', serviceObject('db', 'shop', ['10.96.0.7']));
  more(server);
  const changed = new Set<string>();
  const cluster = new Cluster({
    session: openSession(server.kubeconfig),
    node: 'node-1',
    log: () => undefined,
    pods: () => undefined,
    nodeLabels: () => undefined,
    podNetworks: () => undefined,
    ownersChanged: (ip) => changed.add(ip ?? '*'),
    spreadMs: 0,
  });
  return {
    server,
    cluster,
    resolver: new PeerResolver(() => cluster.owners),
    changed,
    [Symbol.asyncDispose]: async () => {
      await cluster[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const UNKNOWN = { kind: 'unknown', namespace: '', name: '' };

it('peers: services names Services, the Pods behind them by their Service, nodes, and addresses outside', async () => {
  await using scene = await connect((server) => {
    server.put(
      'endpointslices',
      endpointSliceObject('db-x', 'shop', [
        { name: 'db-0', ip: '10.2.0.5', zone: 'zone-b' },
        { name: 'web-6d4cf56db6-a', ip: '10.1.0.1', node: 'node-1' },
        { name: 'exporter', ip: '192.0.2.20' },
      ]),
    );
    server.put('pods', podObject({ name: 'alone', ips: ['10.2.0.9'], node: 'node-2' }));
  });
  const { cluster, resolver, changed, server } = scene;
  await cluster.setPeers('services');
  await eventually(() => expect(resolver.identify('203.0.113.7').kind).toBe('external'));
  const own = { kind: 'workload', namespace: 'shop', name: 'web', zone: 'zone-a', pod: 'web-6d4cf56db6-a' };
  const backend = { kind: 'service', namespace: 'shop', name: 'db', zone: 'zone-b', pod: 'db-0' };
  expect(resolver.identify('10.1.0.1')).toEqual(own);
  expect(resolver.identify('10.96.0.7')).toEqual({ kind: 'service', namespace: 'shop', name: 'db' });
  expect(resolver.identify('10.2.0.5')).toEqual(backend);
  // A Pod in the network of its node has the identity of the node.
  expect(resolver.identify('192.0.2.20')).toEqual({ kind: 'node', namespace: '', name: 'node-2' });
  expect(resolver.identify('10.2.0.9')).toEqual(UNKNOWN);
  expect(changed).toContain('10.2.0.5');
  const selectors = server.requestsSince('pods', 0).map(({ query }) => query.get('fieldSelector'));
  expect(new Set(selectors)).toEqual(new Set(['spec.nodeName=node-1']));
  expect(new Set(server.requests.map(({ resource }) => resource))).toEqual(
    new Set(['nodes', 'pods', 'services', 'endpointslices']),
  );
});

it('an address without an owner is pending until all lists are read or refused, also in a named network', async () => {
  await using scene = await connect((server) => server.refusals.set('endpointslices', 503));
  const { cluster, resolver, server } = scene;
  resolver.external = { names: { '10.96.0.0/16': 'datacenter' }, by: 'collapse' };
  await cluster.setPeers('services');
  await eventually(() => expect(resolver.identify('10.96.0.7')).toMatchObject({ kind: 'service', name: 'db' }));
  await eventually(() => expect(server.requestsSince('endpointslices', 0)).not.toEqual([]));
  for (const ip of ['10.96.0.8', '10.2.0.5', '203.0.113.7']) {
    expect(resolver.identify(ip).kind, ip).toBe('pending');
    expect(resolver.find(ip), ip).toBeUndefined();
  }
  scene.changed.clear();
  server.refusals.set('endpointslices', 403);
  await eventually(() =>
    expect(resolver.identify('10.96.0.8')).toMatchObject({ kind: 'external', name: 'datacenter' }),
  );
  expect(scene.changed).toContain('*');
  expect(resolver.identify('10.2.0.5')).toEqual(UNKNOWN);
});

it('finds the workload behind a Service by its Pods on this node, as slices come and go', async () => {
  const uid = randomUUID();
  const here = { name: 'web-6d4cf56db6-a', ip: '10.1.0.1', node: 'node-1' };
  await using scene = await connect((server) => {
    server.put('endpointslices', endpointSliceObject('front-x', 'shop', [here, { name: 'db-0', ip: '10.2.0.5' }], uid));
    server.put('endpointslices', endpointSliceObject('db-x', 'shop', [{ name: 'db-0', ip: '10.2.0.5' }]));
  });
  const { cluster, resolver, server } = scene;
  const front = { namespace: 'shop', service: 'front', workload: 'web' };
  await cluster.setPeers('services');
  await eventually(() => expect(resolver.serviceWorkloads()).toEqual([front]));
  server.put('endpointslices', endpointSliceObject('front-x', 'shop', [{ name: 'db-0', ip: '10.2.0.5' }], uid));
  await eventually(() => expect(resolver.serviceWorkloads()).toEqual([]));
  server.put('endpointslices', endpointSliceObject('front-x', 'shop', [here], uid));
  await eventually(() => expect(resolver.serviceWorkloads()).toEqual([front]));
  server.delete('endpointslices', uid);
  await eventually(() => expect(resolver.serviceWorkloads()).toEqual([]));
  server.put('endpointslices', endpointSliceObject('front-x', 'shop', [here]));
  await eventually(() => expect(resolver.serviceWorkloads()).toEqual([front]));
  // An EndpointSlice may still list the previous Pod of an address, and one in another namespace may list any address.
  // Both must be ignored.
  server.put('endpointslices', endpointSliceObject('before-x', 'shop', [{ ...here, name: 'before' }]));
  server.put('endpointslices', endpointSliceObject('evil-x', 'evil', [here]));
  server.put('endpointslices', endpointSliceObject('last-x', 'shop', [here]));
  const last = { ...front, service: 'last' };
  await eventually(() => expect(resolver.serviceWorkloads()).toEqual(expect.arrayContaining([front, last])));
  expect(resolver.serviceWorkloads()).toHaveLength(2);
});

it('peers: cluster finds the workload behind a Service by the labels that it selects', async () => {
  const uid = randomUUID();
  const front = (selector: unknown) => {
    const { spec, ...service } = serviceObject('front', 'shop', ['10.96.0.8'], uid);
    return { ...service, spec: { ...(spec as object), selector } };
  };
  const hash = DEPLOYMENT.labels ?? {};
  await using scene = await connect((server) => server.put('services', front(hash)));
  const { cluster, resolver, server } = scene;
  await cluster.setPeers('cluster');
  const merged = { namespace: 'shop', service: 'front', workload: 'web' };
  await eventually(() => expect(resolver.serviceWorkloads()).toEqual([merged]));
  for (const selector of [
    { ...hash, more: 'x' },
    {},
    undefined,
    { ...hash, long: 'x'.repeat(20_000) },
    { ...hash, odd: 1 },
  ]) {
    server.put('services', front(selector));
    await eventually(() => expect(resolver.serviceWorkloads()).toEqual([]));
    server.put('services', front(hash));
    await eventually(() => expect(resolver.serviceWorkloads()).toEqual([merged]));
  }
  server.delete('services', uid);
  await eventually(() => expect(resolver.serviceWorkloads()).toEqual([]));
});

it('peers: cluster names every Pod by its workload, also as it comes and goes', async () => {
  const uid = randomUUID();
  const pod = (more: Partial<PodGiven>) =>
    podObject({ ...DEPLOYMENT, uid, name: 'web-6d4cf56db6-b', namespace: 'shop', node: 'node-2', ...more });
  await using scene = await connect((server) => {
    server.put('pods', pod({ ips: ['10.2.0.9'] }));
    server.put('pods', podObject({ name: 'bare', node: 'node-2', ips: ['10.2.0.8'] }));
    server.put('pods', podObject({ name: 'ended', node: 'node-2', ips: ['10.2.0.7'], phase: 'Succeeded' }));
    server.put('pods', podObject({ name: 'on-host', node: 'node-2', ips: ['192.0.2.20'], hostNetwork: true }));
  });
  const { cluster, resolver, server, changed } = scene;
  await cluster.setPeers('cluster');
  const identity = { kind: 'workload', namespace: 'shop', name: 'web', zone: 'zone-b', pod: 'web-6d4cf56db6-b' };
  await eventually(() => expect(resolver.identify('10.2.0.9')).toEqual(identity));
  await eventually(() => expect(resolver.identify('203.0.113.7').kind).toBe('external'));
  expect(resolver.identify('10.2.0.8')).toMatchObject({ kind: 'workload', namespace: 'default', name: 'bare' });
  expect(resolver.identify('10.2.0.7')).toEqual(UNKNOWN);
  expect(resolver.identify('192.0.2.20')).toMatchObject({ kind: 'node', name: 'node-2', zone: 'zone-b' });
  changed.clear();
  server.put('pods', pod({ ips: ['10.2.0.10'] }));
  await eventually(() => expect(resolver.identify('10.2.0.10')).toEqual(identity));
  expect(resolver.identify('10.2.0.9')).toEqual(UNKNOWN);
  expect([...changed].sort()).toEqual(['10.2.0.10', '10.2.0.9']);
  server.put('pods', pod({ ips: ['10.2.0.10'], phase: 'Failed' }));
  await eventually(() => expect(resolver.identify('10.2.0.10')).toEqual(UNKNOWN));
  server.put('pods', pod({ ips: ['10.2.0.10'] }));
  await eventually(() => expect(resolver.identify('10.2.0.10')).toEqual(identity));
  server.delete('pods', uid);
  await eventually(() => expect(resolver.identify('10.2.0.10')).toEqual(UNKNOWN));
  // No owners of the previous mode remain after the mode is changed.
  await cluster.setPeers('node');
  expect(resolver.identify('10.2.0.8')).toEqual(UNKNOWN);
  expect(resolver.identify('10.96.0.7')).toEqual(UNKNOWN);
  expect(resolver.identify('10.1.0.1')).toMatchObject({ kind: 'workload', name: 'web' });
});

it('a cluster with IPv4 and IPv6 is read as whole objects, because a table has one address of each', async () => {
  await using scene = await connect(
    (server) => {
      server.put('nodes', nodeObject('node-3', ['192.0.2.30', 'fd00::30'], [], 'zone-c'));
      server.put('pods', podObject({ name: 'both', node: 'node-3', ips: ['10.2.0.8', 'fd02::8'] }));
    },
    ['192.0.2.10', 'fd00::10'],
  );
  const { cluster, resolver } = scene;
  await cluster.setPeers('cluster');
  await eventually(() => expect(resolver.identify('fd02::8')).toMatchObject({ name: 'both', zone: 'zone-c' }));
  await eventually(() => expect(resolver.identify('fd00::30')).toMatchObject({ kind: 'node', name: 'node-3' }));
});

it('a public address is not called external where Pods have public addresses', async () => {
  await using scene = await connect((server) =>
    server.put('pods', podObject({ name: 'public', ips: ['2001:db8:7::1'] })),
  );
  const { cluster, resolver } = scene;
  await cluster.setPeers('services');
  await eventually(() => expect(resolver.identify('203.0.113.7').kind).toBe('external'));
  expect(resolver.identify('2001:db8:9::1')).toEqual(UNKNOWN);
});

it('an address that Pods of another node get one after the other has the last name, or none', async () => {
  await using scene = await connect();
  const { cluster, resolver, server } = scene;
  await cluster.setPeers('cluster');
  await eventually(() => expect(resolver.identify('203.0.113.7').kind).toBe('external'));
  let before = podObject({ name: 'pod-0', node: 'node-2', ips: ['10.2.0.77'] });
  server.put('pods', before);
  for (let nth = 1; nth <= 100; nth++) {
    const next = podObject({ name: `pod-${nth}`, node: 'node-2', ips: ['10.2.0.77'] });
    // In every second round, the API adds the next Pod before it deletes the previous one.
    const steps = [() => server.delete('pods', before.metadata.uid), () => server.put('pods', next)];
    for (const step of nth % 2 === 0 ? steps : steps.toReversed()) step();
    const mark = podObject({ name: `mark-${nth}`, node: 'node-2', ips: ['10.2.0.78'] });
    server.put('pods', mark);
    await eventually(() => expect(resolver.identify('10.2.0.78').pod).toBe(`mark-${nth}`));
    expect(resolver.identify('10.2.0.77').pod).toBe(`pod-${nth}`);
    server.delete('pods', mark.metadata.uid);
    before = next;
  }
  server.delete('pods', before.metadata.uid);
  await eventually(() => expect(resolver.identify('10.2.0.77')).toEqual(UNKNOWN));
});
