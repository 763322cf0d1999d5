import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { PolicyObjects } from '#kubernetes/policy_objects.ts';
import { openSession } from '#kubernetes/session.ts';
import { podObject } from '../../../test/support/api_objects.ts';
import { type ApiObject, ApiServer } from '../../../test/support/api_server.ts';
import { policy } from '../policy.ts';
import { ClusterWorld } from './cluster_world.ts';

let server: ApiServer;

const object = (metadata: object, spec: object = {}): ApiObject =>
  ({ metadata: { uid: randomUUID(), ...metadata }, spec }) as unknown as ApiObject;

beforeAll(async () => {
  server = await ApiServer.start();
  vi.stubEnv('KUBECONFIG', server.kubeconfig);
  server.put('pods', podObject({ name: 'web', namespace: 'shop', labels: { app: 'web' }, ips: ['10.0.0.2'] }));
  server.put('pods', podObject({ name: 'cart', namespace: 'shop', labels: { app: 'cart' }, ips: ['10.0.0.3'] }));
  server.put('pods', podObject({ name: 'job', namespace: 'tools', labels: { app: 'cart' }, ips: ['10.0.1.4'] }));
  server.put('namespaces', object({ name: 'shop', labels: { tenant: 'a' } }));
  server.put('namespaces', object({ name: 'tools', labels: { tenant: 'b' } }));
  const ingress = [
    { from: [{ podSelector: { matchLabels: { app: 'cart' } } }] },
    { from: [{ namespaceSelector: { matchLabels: { tenant: 'b' } } }], ports: [{ port: 80 }] },
  ];
  server.put('networkpolicies', object({ name: 'web', namespace: 'shop' }, { podSelector: {}, ingress }));
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await server[Symbol.asyncDispose]();
});

const GROUPS = {
  'networking.k8s.io': ['v1'],
  'policy.networking.k8s.io': ['v1alpha2', 'v1alpha1'],
  'cilium.io': ['v2'],
};
afterEach(() => {
  server.groups = {};
  server.refusals.clear();
  server.requests.length = 0;
});

const ask = (from: string, to: string, ...more: readonly string[]) =>
  policy(['--from', from, '--to', to, ...more], new AbortController().signal);

describe('netsonde policy in a cluster', () => {
  it('reads only what it needs: policies of both namespaces, two Pods and their namespaces', async () => {
    server.groups = GROUPS;
    const { code, text } = await ask('shop/cart', 'shop/web:80');
    expect([code, text]).toEqual([
      0,
      expect.stringContaining('NetworkPolicy/shop/web ingress[0] matches tcp/80 from shop/cart'),
    ]);
    expect(text).toContain('may also apply, not evaluated: cilium.io\n');
    const asked = server.requests.map(({ method, resource, isWatch }) => `${method} ${resource} ${isWatch}`);
    expect(asked.sort()).toEqual(
      [
        ...['/apis', 'adminnetworkpolicies', 'baselineadminnetworkpolicies', 'clusternetworkpolicies', 'namespaces'],
        ...['networkpolicies', 'pods', 'pods'],
      ].map((resource) => `GET ${resource} false`),
    );
  });

  it.each([
    ['10.0.1.9', '10.0.0.2:80'],
    ['10.0.1.9', 'tools/job:80'],
  ])('an address may be that of a Pod in any namespace: %s to %s', async (from, to) => {
    const { code, text } = await ask(from, to);
    expect([code, text]).toEqual([2, expect.stringContaining('whether 10.0.1.9 is the address of a Pod')]);
  });

  it('knows the labels of namespaces', async () => {
    expect((await ask('tools/job', 'shop/web:80')).code).toBe(0);
    expect((await ask('tools/job', 'shop/web:81')).code).toBe(1);
  });

  it('evaluates policies for the cluster, in the version that the server has', async () => {
    const deny = {
      tier: 'Admin',
      priority: 1,
      subject: { namespaces: {} },
      ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
    };
    const cluster = object({ name: 'deny' }, deny);
    server.put('clusternetworkpolicies', cluster);
    try {
      server.groups = GROUPS;
      const { code, text } = await ask('shop/cart', 'shop/web:80');
      expect([code, text]).toEqual([
        1,
        expect.stringContaining('denied: ClusterNetworkPolicy/deny ingress[0] matches'),
      ]);
      server.groups = { 'networking.k8s.io': ['v1'] };
      expect((await ask('shop/cart', 'shop/web:80')).code).toBe(0);
    } finally {
      server.delete('clusternetworkpolicies', cluster.metadata.uid);
    }
  });

  it('names missing rights, and what they leave unknown', async () => {
    server.refusals.set('networkpolicies', 403);
    const unread = await ask('shop/cart', 'shop/web:80');
    expect(unread.code).toBe(2);
    expect(unread.text).toContain(
      'it depends on facts that are missing: networkpolicies, because the right to list networkpolicies in the namespace shop is missing',
    );
    server.refusals.clear();
    server.refusals.set('pods', 403).set('namespaces', 403);
    const { code, text } = await ask('shop/cart', 'shop/web:80');
    expect(code).toBe(2);
    expect(text).toContain('note: the right to get pods in the namespace shop is missing');
    expect(text).toContain('note: the right to get namespaces is missing');
    expect(text).toContain('label app of shop/cart');
  });

  it('without the rights to read groups and policies for the cluster, the verdict is unknown', async () => {
    for (const name of ['/apis', 'clusternetworkpolicies', 'adminnetworkpolicies', 'baselineadminnetworkpolicies'])
      server.refusals.set(name, 403);
    const { code, text } = await ask('shop/cart', 'shop/web:80');
    expect(code).toBe(2);
    expect(text).toContain('clusternetworkpolicies, because the right to list clusternetworkpolicies is missing');
    expect(text).toContain('note: the API groups of other policies are not known');
  });

  it('resources that the server does not have contain no policies', async () => {
    for (const name of ['clusternetworkpolicies', 'adminnetworkpolicies', 'baselineadminnetworkpolicies'])
      server.refusals.set(name, 404);
    server.groups = GROUPS;
    expect((await ask('shop/cart', 'shop/web:80')).code).toBe(0);
  });

  it('a private address may be that of a Pod, unless the user says otherwise', async () => {
    const unknown = await ask('10.9.9.9', 'shop/web:80');
    expect([unknown.code, unknown.text]).toEqual([
      2,
      expect.stringContaining('whether 10.9.9.9 is the address of a Pod'),
    ]);
    expect((await ask('8.8.8.8', 'shop/web:80')).text).toContain(
      'it depends on facts that are missing: addresses of the node of shop/web',
    );
    const to = podObject({ name: 'here', namespace: 'shop', labels: { app: 'web' }, ips: ['10.0.0.9'] });
    server.put('pods', { ...to, status: { podIP: '10.0.0.9', hostIP: '192.168.0.1' } });
    expect((await ask('8.8.8.8', 'shop/here:80')).code).toBe(1);
    expect((await ask('10.9.9.9', 'shop/here:80', '--outside')).code).toBe(1);
  });

  it('finds a Service by its name, with the right to list Services', async () => {
    const spec = { clusterIP: '10.96.0.9', selector: { app: 'api' }, ports: [{ port: 80, targetPort: 8080 }] };
    server.put('services', object({ name: 'api', namespace: 'data' }, spec));
    server.put('services', object({ name: 'other', namespace: 'data' }, spec));
    using session = openSession();
    const open = () => new ClusterWorld(new PolicyObjects(session, new AbortController().signal), false);
    const found = { name: 'api', selector: { app: 'api' }, ports: [{ port: 80, target: 8080 }] };
    const world = open();
    expect(await world.service('data', 'api')).toMatchObject(found);
    expect(await world.service('data', 'api')).toMatchObject(found);
    expect(server.requests).toHaveLength(1);
    expect(await world.service('data', 'none')).toBeUndefined();
    expect(world.notes).toEqual([]);
    server.refusals.set('services', 403);
    const refused = open();
    expect(await refused.service('data', 'api')).toBeUndefined();
    expect(refused.notes).toEqual(['the right to list services in the namespace data is missing']);
  });

  it('a Pod that does not exist, and a server that fails, are errors', async () => {
    await expect(ask('shop/none', 'shop/web:80')).rejects.toThrow('--from: there is no Pod shop/none in the cluster');
    server.refusals.set('pods', 500);
    await expect(ask('shop/cart', 'shop/web:80')).rejects.toThrow('500 pods is refused');
  });
});
