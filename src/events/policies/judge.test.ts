import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { EventRecord, Peer } from '#api/events.ts';
import type { ApiSession } from '#kubernetes/api.ts';
import { PolicyCache } from '#kubernetes/policy_cache.ts';
import { PolicyObjects } from '#kubernetes/policy_objects.ts';
import { openSession } from '#kubernetes/session.ts';
import type { PeerLookup } from '#peers/peer.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { podObject } from '../../../test/support/api_objects.ts';
import { type ApiObject, ApiServer } from '../../../test/support/api_server.ts';
import { makeEvents } from '../../../test/support/event_lines.ts';
import { readStream } from '../../../test/support/incident_streams.ts';
import { connectionOf } from '../connection_id.ts';
import { PolicyJudge } from './judge.ts';

let server: ApiServer;
let session: ApiSession;
let now: number;
let judge: PolicyJudge;
let cache: PolicyCache;

const object = (metadata: object, spec: object = {}): ApiObject =>
  ({ metadata: { uid: randomUUID(), ...metadata }, spec }) as unknown as ApiObject;

function netpol(namespace: string, name: string, spec: object): string {
  const policy = object({ name, namespace }, spec);
  server.put('networkpolicies', policy);
  return policy.metadata.uid;
}

const OWNERS = new Map<string, Peer>();
const peers: PeerLookup = {
  find: (ip) => OWNERS.get(ip),
  identify: () => ({ kind: 'unknown', namespace: '', name: '' }),
  isLocal: () => true,
};

function addPod(namespace: string, name: string, ip: string): void {
  OWNERS.set(ip, { kind: 'pod', namespace, name, ip });
  server.put('pods', podObject({ name, namespace, labels: { app: name }, ips: [ip] }));
}

beforeAll(async () => {
  server = await ApiServer.start();
  server.groups = { 'networking.k8s.io': ['v1'] };
  vi.stubEnv('KUBECONFIG', server.kubeconfig);
  session = openSession();
  addPod('shop', 'cart', '10.0.0.1');
  addPod('data', 'db', '10.0.0.2');
  addPod('open', 'web', '10.0.0.3');
  OWNERS.set('10.96.0.1', { kind: 'service', namespace: 'data', name: 'db', ip: '10.96.0.1' });
  for (const name of ['shop', 'data', 'open']) server.put('namespaces', object({ name, labels: { name } }));
  netpol('data', 'deny-all', { podSelector: {}, policyTypes: ['Ingress'] });
  const from = [{ namespaceSelector: { matchLabels: { name: 'open' } } }];
  netpol('data', 'web', { podSelector: {}, ingress: [{ from, ports: [{ port: 5432 }] }] });
});

afterAll(async () => {
  session[Symbol.dispose]();
  vi.unstubAllEnvs();
  await server[Symbol.asyncDispose]();
});

beforeEach(() => {
  now = 0;
  cache = new PolicyCache(new PolicyObjects(session, new AbortController().signal, true), () => now);
  judge = new PolicyJudge({ cache, peers: () => peers });
});

afterEach(() => {
  server.groups = { 'networking.k8s.io': ['v1'] };
  server.refusals.clear();
  server.requests.length = 0;
});

const TO_DB = { src: '10.0.0.1:40000', dst: '10.0.0.2:5432', protocol: 'tcp' };
const DROP = { ...TO_DB, reason: 'NETFILTER_DROP', symbol: 'nft_do_chain+0x1' };
const DENIED = {
  policy:
    'ingress denied: NetworkPolicy/data/deny-all and NetworkPolicy/data/web select the Pod, and no rule allows tcp/5432 from shop/cart (app=cart)',
  policyVerdict: 'denied',
  policyDirection: 'ingress',
  policyBy: ['NetworkPolicy/data/deny-all', 'NetworkPolicy/data/web'],
  policySure: 'seen',
};

function ask(more: Partial<EventRecord>) {
  const [event] = makeEvents(1, more);
  if (event === undefined) throw new Error('none made');
  return judge.judge(event, connectionOf(event, undefined, DEFAULT_PORT_RANGE));
}

describe('a drop by a firewall', () => {
  it('names the policies that deny it, in both directions of the packet', async () => {
    expect(await ask(DROP)).toEqual(DENIED);
    expect(await ask({ ...DROP, src: TO_DB.dst, dst: TO_DB.src })).toEqual(DENIED);
    expect(judge.decisions.get('denied')).toBe(2);
  });

  it('uses the client and the server behind translations', async () => {
    const tracked = { connectionClient: '10.0.0.1:40000', connectionServer: '10.0.0.2:5432' };
    const asked = { ...DROP, dst: '10.96.0.1:80', ...tracked, connectionService: '10.96.0.1:80' };
    expect(await ask(asked)).toEqual(DENIED);
    expect(await ask({ ...DROP, src: '192.168.0.1:7', ...tracked, connectionSource: '192.168.0.1:7' })).toEqual(DENIED);
    expect(await ask({ ...DROP, dst: '10.96.0.1:80' })).toEqual({
      policy: 'not known: the Pod behind the Service data/db',
      policyVerdict: 'unknown',
      policySure: 'seen',
    });
  });

  it('says that no policy denies it, and which ones are not evaluated', async () => {
    server.groups = { 'networking.k8s.io': ['v1'], 'cilium.io': ['v2'] };
    expect(await ask({ ...DROP, dst: '10.0.0.3:80' })).toEqual({
      policy: 'no policy of the Kubernetes API denies this; may also apply, not evaluated: cilium.io',
      policyVerdict: 'none',
      policySure: 'seen',
    });
    expect(await ask({ ...DROP, src: '10.0.0.3:40000' })).toMatchObject({ policyVerdict: 'allowed' });
  });

  it.each([
    ['10.9.9.1:40000', '10.9.9.2:80'],
    ['10.9.9.1:40000', '10.0.0.3:80'],
    ['10.0.0.3:40000', '10.9.9.2:80'],
  ])('does not guess about an address that may be that of a Pod: %s to %s', async (src, dst) => {
    expect(await ask({ ...DROP, src, dst })).toMatchObject({
      policy: expect.stringContaining('whether 10.9.9.'),
      policyVerdict: 'unknown',
    });
  });

  it('knows that public addresses belong to no Pod', async () => {
    expect(await ask({ ...DROP, src: '8.8.8.8:40000', dst: '10.0.0.3:80' })).toMatchObject({ policyVerdict: 'none' });
  });

  it('reads policies again once a minute, in case one is new', async () => {
    const dropped = { ...DROP, dst: '10.0.0.3:80' };
    expect(await ask(dropped)).toMatchObject({ policyVerdict: 'none' });
    const created = netpol('open', 'late', { podSelector: {}, policyTypes: ['Ingress'] });
    now = 4_999;
    expect(await ask(dropped)).toMatchObject({ policyVerdict: 'none' });
    now = 5_000;
    expect(await ask(dropped)).toMatchObject({ policyVerdict: 'denied', policyBy: ['NetworkPolicy/open/late'] });
    server.delete('networkpolicies', created);
    now = 65_000;
    expect(await ask(dropped)).toMatchObject({ policyVerdict: 'none' });
  });

  it.each([
    ['networkpolicies', 'policies', 'the right to list networkpolicies in the namespace shop is missing'],
    ['pods', 'pods', 'whether data/db uses the network of its node'],
  ])('does not guess without the right to read %s', async (resource, kind, reason) => {
    server.refusals.set(resource, 403);
    const fields = await ask(DROP);
    expect(fields).toMatchObject({ policyVerdict: 'unknown', policySure: 'seen' });
    expect(fields?.policy).toContain(reason);
    expect(cache.lookups.get(`${kind} forbidden`)).toBeGreaterThan(0);
  });

  it('does not guess while the API does not respond', async () => {
    server.refusals.set('networkpolicies', 500);
    expect(await ask(DROP)).toMatchObject({ policyVerdict: 'unknown' });
    server.refusals.clear();
    now = 29_999;
    expect(await ask(DROP)).toMatchObject({ policyVerdict: 'unknown' });
    now = 30_000;
    expect(await ask(DROP)).toEqual(DENIED);
  });
});

it('a timeout names only a policy that denies the connection', async () => {
  const failed = { ...TO_DB, probe: 'tcpconnect', type: 'connection_failed', cause: 'timeout' };
  expect(await ask(failed)).toEqual({ ...DENIED, policySure: 'inferred' });
  expect(await ask({ ...failed, dst: '10.0.0.3:80' })).toBeUndefined();
});

it('events that are not about a firewall have no verdict, and cause no request', () => {
  const others = ['refused', 'loss', 'reset', 'route', 'dns_dead', 'slow_accept'].flatMap(readStream);
  const judged = others.map((event) => judge.judge(event, connectionOf(event, undefined, DEFAULT_PORT_RANGE)));
  expect(judged.length).toBeGreaterThan(100);
  expect(judged.filter((verdict) => verdict !== undefined)).toEqual([]);
  expect(ask({ ...DROP, protocol: 'icmp', src: '10.0.0.1', dst: '10.0.0.2' })).toBeUndefined();
  expect(server.requests).toEqual([]);
});

it('a storm of drops in fifteen namespaces costs the API server little', async () => {
  const seconds = 120;
  for (let nth = 0; nth < 15; nth++) {
    server.put('namespaces', object({ name: `n${nth}` }));
    for (let pod = 0; pod < 2; pod++) addPod(`n${nth}`, `p${pod}`, `10.1.${nth}.${pod}`);
    netpol(`n${nth}`, 'deny', { podSelector: {}, policyTypes: ['Ingress'] });
  }
  server.requests.length = 0;
  for (let second = 0; second < seconds; second++) {
    now = second * 1_000;
    for (let nth = 0; nth < 15; nth++) {
      for (let times = 0; times < 10; times++) {
        await ask({ ...DROP, src: `10.1.${nth}.0:${40_000 + times}`, dst: `10.1.${nth}.1:80` });
      }
    }
  }
  const lists = server.requests.filter(({ resource }) => resource === 'networkpolicies');
  expect(server.requests.every(({ isWatch, method }) => !isWatch && method === 'GET')).toBe(true);
  // One list for each namespace and minute.
  expect(lists.length).toBeGreaterThanOrEqual(15);
  expect(lists.length).toBeLessThanOrEqual(15 * (seconds / 60));
  expect(lists[0]?.query.get('resourceVersion')).toBe('0');
  expect(server.requests.length).toBeLessThanOrEqual(15 + 2 * seconds);
  expect(judge.decisions.get('denied')).toBeGreaterThan(15 * 10 * (seconds / 2));
  process.stdout.write(
    `${server.requests.length} requests in ${seconds} s, of which ${lists.length} lists of policies\n`,
  );
});
