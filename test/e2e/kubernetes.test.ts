import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EntityStatus } from '#api/entities.ts';
import type { EventRecord, Peer } from '#api/events.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { nodeObject, podObject, serviceObject } from '../support/api_objects.ts';
import { ApiServer, type Mood } from '../support/api_server.ts';
import { CGROUP_V1, TestPod } from '../support/cgroups.ts';
import { run } from '../support/command.ts';
import { readEvent } from '../support/contract.ts';
import { parseExposition, sampleValue } from '../support/exposition.ts';
import { Host, HostPair, TestNetns } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { promtool } from '../support/promtool.ts';

const NODE = 'node-1';
const NODE_IP = '192.0.2.10';

const CONFIG =
  'peers: node\nlabels: { app: app.kubernetes.io/name, workload: "@workload", workload_kind: "@workload_kind" }\n';

let server: ApiServer;
let pair: HostPair;
let podA: TestPod;
let podB: TestPod;
let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let config: string;
let agent: AgentProcess;
/**
 * An agent that watches the whole cluster and has its own API server. It lists the cluster after a random delay of up
 * to 42 s, during which other tests run.
 */
let clusterAgent: AgentProcess;
const resources = new AsyncDisposableStack();

function webPod(uid: string, name: string, ips: readonly string[]) {
  return podObject({
    uid,
    name,
    namespace: 'shop',
    labels: { 'app.kubernetes.io/name': 'web', 'pod-template-hash': '6d4cf56db6' },
    owner: { kind: 'ReplicaSet', name: 'web-6d4cf56db6' },
    ips,
  });
}

beforeAll(async () => {
  server = resources.use(await ApiServer.start());
  podA = resources.use(new TestPod(CGROUP_V1));
  podB = resources.use(new TestPod(CGROUP_V1));
  pair = resources.use(await HostPair.create());
  podA.add(pair.a.pid);
  podB.add(pair.b.pid);
  for (const rule of [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add rule inet t in udp dport 7001 counter drop',
  ]) {
    run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', rule);
  }
  server.put('nodes', nodeObject(NODE, [NODE_IP]));
  server.put('pods', webPod(podA.uid, 'web-a', [pair.addressA.ipv4, pair.addressA.ipv6]));
  folder = resources.use(await mkdtempDisposable(join(tmpdir(), 'kubernetes-')));
  config = join(folder.path, 'config.yaml');
  writeFileSync(config, CONFIG);
  agent = await serve(server, config);
  const clusterConfig = join(folder.path, 'cluster.yaml');
  writeFileSync(clusterConfig, only({ packetloss: true }, { peers: 'cluster' }));
  clusterAgent = await serve(await cluster(), clusterConfig);
});

async function serve(api: ApiServer, file: string): Promise<AgentProcess> {
  return resources.use(await AgentProcess.serve(['--kubernetes', 'on', '--config', file], [], api.environment(NODE)));
}

/** Starts an API server that also has objects of other nodes. */
async function cluster(): Promise<ApiServer> {
  const api = resources.use(await ApiServer.start());
  api.put('nodes', nodeObject(NODE, [NODE_IP]));
  api.put('nodes', nodeObject('node-2', ['192.0.2.20']));
  api.put('services', serviceObject('db', 'shop', ['10.9.0.77']));
  const owner = { kind: 'StatefulSet', name: 'db' };
  const remote = { namespace: 'shop', node: 'node-2', owner };
  api.put('pods', podObject({ ...remote, name: 'db-0', ips: ['10.9.0.78'] }));
  api.put('pods', podObject({ ...remote, name: 'old-0', ips: ['10.9.0.79'], phase: 'Succeeded' }));
  return api;
}

afterAll(() => resources.disposeAsync());

function eventsOf(text: string): EventRecord[] {
  return text
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map(readEvent);
}

/** Sends a datagram from one Pod to the other, which drops it, and returns the event. */
async function loseOne(from: string, to: string): Promise<EventRecord> {
  const source = await pair.a.udpSend({ address: to, port: 7001, count: 1, bytes: 9 });
  const src = from.includes(':') ? `[${from}]:${source}` : `${from}:${source}`;
  return eventually(() => {
    const found = eventsOf(agent.stdout).find((event) => event.src === src && event.type === 'packet_drop');
    if (found === undefined) throw new Error(`no event of ${src}`);
    return found;
  });
}

const A = { namespace: 'shop', pod: 'web-a' };
const IN_USE = 'netsonde_sockets_used';
const RECEIVED = 'netsonde_udp_received_datagrams_total';

async function namedA(): Promise<void> {
  await eventually(async () => expect(sampleValue(await agent.page(), IN_USE, A)).toBeDefined());
}

describe('Pods of the API', () => {
  it('have their names and configured labels on every series; other series have the same labels, empty', async () => {
    await namedA();
    const response = await agent.get('/metrics');
    const text = await response.text();
    expect(promtool('check', 'metrics', text)).toBe('');
    const { samples } = parseExposition(text);
    const ofPod = samples.filter(({ labels }) => labels['pod'] === 'web-a');
    expect(ofPod.length).toBeGreaterThan(30);
    for (const { labels } of ofPod) {
      expect(labels).toMatchObject({ namespace: 'shop', app: 'web', workload: 'web', workload_kind: 'Deployment' });
    }
    const ofOthers = samples.filter(({ labels }) => 'pod' in labels && labels['namespace'] === '');
    expect(ofOthers.length).toBeGreaterThan(60);
    for (const { labels } of ofOthers) expect(labels).toMatchObject({ app: '', workload: '', workload_kind: '' });
    const { entities } = await agent.json<{ entities: EntityStatus[] }>('/api/v1/entities');
    expect(entities.find(({ uid }) => uid === podA.uid)).toMatchObject({ kind: 'pod', ...A, labels: { app: 'web' } });
  });

  it('that the API does not know yet are shown by their UID, and no count jumps when it does', async () => {
    const byUid = { namespace: '', pod: podB.uid };
    await eventually(async () => expect(sampleValue(await agent.page(), IN_USE, byUid)).toBeDefined());
    await pair.b.udpReceive({ address: '::', port: 7002 });
    await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7002, count: 20, bytes: 9 });
    const before = await eventually(async () => {
      const value = sampleValue(await agent.page(), RECEIVED, { ...byUid, family: 'ipv4' });
      expect(value).toBeGreaterThanOrEqual(20);
      return value;
    });
    server.put('pods', webPod(podB.uid, 'web-b', []));
    await eventually(async () => {
      const page = await agent.page();
      expect(sampleValue(page, RECEIVED, { namespace: 'shop', pod: 'web-b', family: 'ipv4' })).toBe(before);
      expect(page.samples.filter(({ labels }) => labels['pod'] === podB.uid)).toEqual([]);
    });
  });

  it('events carry the name, the labels, and the peer, over IPv4 and IPv6', async () => {
    server.put('pods', webPod(podB.uid, 'web-b', [pair.addressB.ipv4, pair.addressB.ipv6]));
    for (const family of ['ipv4', 'ipv6'] as const) {
      // The first events may arrive before the API has reported the Pod to the agent.
      await eventually(async () => {
        const event = await loseOne(pair.addressA[family], pair.addressB[family]);
        expect(event).toMatchObject({
          node: NODE,
          namespace: 'shop',
          pod: 'web-b',
          labels: { app: 'web', workload: 'web', workload_kind: 'Deployment' },
          peer: { kind: 'pod', namespace: 'shop', name: 'web-a', ip: pair.addressA[family] },
        });
      });
    }
  });

  it.each([
    ['hash', randomUUID().replaceAll('-', '')],
    ['UID of its manifest', randomUUID()],
  ])('a static Pod is identified by the %s in the annotation of its mirror', async (_, uid) => {
    await using cgroups = new TestPod(CGROUP_V1, uid);
    using netns = new TestNetns();
    await using host = await Host.start(netns);
    cgroups.add(host.pid);
    const annotations = { 'kubernetes.io/config.mirror': uid, 'kubernetes.io/config.hash': uid };
    // The addresses of a namespace that the agent cannot read come from the API.
    const ips = ['10.77.0.9'];
    const mirror = podObject({
      ips,
      name: 'proxy-node-1',
      namespace: 'kube-system',
      annotations,
      owner: { kind: 'Node', name: NODE },
    });
    server.put('pods', mirror);
    const labels = { namespace: 'kube-system', pod: 'proxy-node-1', workload: 'proxy-node-1', workload_kind: 'Pod' };
    await eventually(async () => {
      const { entities } = await agent.json<{ entities: EntityStatus[] }>('/api/v1/entities');
      expect(entities.find((entity) => entity.uid === uid)).toMatchObject({ ips });
      expect(sampleValue(await agent.page(), IN_USE, labels)).toBeDefined();
    });
    server.delete('pods', mirror.metadata.uid);
  });

  it.each(['Succeeded', 'Failed'])(
    'a Pod that ended (%s) before the agent heard of it keeps its name while its namespace lives',
    async (phase) => {
      await using cgroups = new TestPod(CGROUP_V1);
      using netns = new TestNetns();
      server.put('pods', podObject({ uid: cgroups.uid, name: `job-${phase.toLowerCase()}`, namespace: 'shop', phase }));
      const labels = { namespace: 'shop', pod: `job-${phase.toLowerCase()}` };
      const shown = async () => expect(sampleValue(await agent.page(), IN_USE, labels)).toBeDefined();
      {
        await using host = await Host.start(netns);
        cgroups.add(host.pid);
        await eventually(shown);
      }
      // The namespace has no process any more.
      await wait(2_000);
      await shown();
      server.delete('pods', cgroups.uid);
    },
  );

  it('with hostNetwork are listed, and count for the node', async () => {
    await using cgroups = new TestPod(CGROUP_V1);
    server.put('pods', podObject({ uid: cgroups.uid, name: 'on-host', ips: [NODE_IP], hostNetwork: true }));
    const child = spawn('sleep', ['60']);
    cgroups.add(child.pid ?? 0);
    const node = await eventually(async () => {
      const { entities } = await agent.json<{ entities: EntityStatus[] }>('/api/v1/entities');
      const [first, ...others] = entities.filter(({ kind }) => kind === 'node');
      expect(others).toEqual([]);
      const listed = { kind: 'pod', pod: 'on-host', netns: first?.netns, sharesNode: true };
      expect(entities.filter(({ uid }) => uid === cgroups.uid)).toMatchObject([listed]);
      return first;
    });
    expect(node).toMatchObject({ sharesNode: false });
    const { samples } = await agent.page();
    expect(samples.filter(({ labels }) => labels['pod'] === 'on-host')).toEqual([]);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    server.delete('pods', cgroups.uid);
  });

  it('with the same name: the newer one is shown, and the other is counted', async () => {
    const shadowed = async () => sampleValue(await agent.page(), 'netsonde_entities_shadowed_total', {}) ?? 0;
    const before = await shadowed();
    server.put('pods', podObject({ uid: podB.uid, name: 'web-a', namespace: 'shop', created: '2026-11-21T12:30:00Z' }));
    await eventually(async () => expect(await shadowed()).toBeGreaterThan(before));
    const { entities } = await agent.json<{ entities: EntityStatus[] }>('/api/v1/entities');
    expect(
      entities
        .filter(({ pod }) => pod === 'web-a')
        .map(({ uid }) => uid)
        .sort(),
    ).toEqual([podA.uid, podB.uid].sort());
    // Only `podB` received datagrams.
    const received = sampleValue(await agent.page(), RECEIVED, { ...A, family: 'ipv4' });
    expect(received).toBeGreaterThanOrEqual(20);
    server.put('pods', webPod(podB.uid, 'web-b', []));
    await eventually(async () =>
      expect(sampleValue(await agent.page(), IN_USE, { ...A, workload: 'web' })).toBeDefined(),
    );
  });

  it('labels change while the agent runs; invalid ones change nothing', async () => {
    writeFileSync(config, 'labels: { tier: tier, app: app.kubernetes.io/name }\n');
    await eventually(async () => {
      const { samples } = await agent.page();
      const labels = samples.find((sample) => sample.name === IN_USE && sample.labels['pod'] === 'web-a')?.labels;
      expect(labels).toEqual({ ...A, tier: '', app: 'web' });
    });
    writeFileSync(config, 'labels: { pod: app, 1x: app, reason: app, good: "not a key" }\n');
    await eventually(async () => {
      const { rejected } = await agent.json<{ rejected: { faults: { path: string }[] } }>('/api/v1/config');
      expect(rejected?.faults.map(({ path }) => path).sort()).toEqual(
        ['labels.1x', 'labels.good', 'labels.pod', 'labels.reason'].sort(),
      );
    });
    expect(sampleValue(await agent.page(), IN_USE, { ...A, tier: '' })).toBeDefined();
    writeFileSync(config, CONFIG);
    await eventually(async () =>
      expect(sampleValue(await agent.page(), IN_USE, { ...A, workload: 'web' })).toBeDefined(),
    );
  });
});

/** Returns the number of completed requests, including failed ones. */
async function askedOf(of: AgentProcess): Promise<number> {
  const { samples } = await of.page();
  const requests = samples.filter(({ name }) => name === 'netsonde_kubernetes_requests_total');
  return requests.reduce((sum, { value }) => sum + Number(value), 0);
}

describe('without the API', () => {
  const feel = (mood: Mood) => {
    server.mood = mood;
  };
  it.each([
    ['killed, and back with other versions', () => server.kill(), () => server.restart(9)],
    ['hanging', () => feel({ kind: 'hangs' }), () => server.resume('stay-silent')],
    ['answering 500', () => feel({ kind: 'fails', status: 500 }), () => server.resume('go-on')],
    ['answering 410', () => feel({ kind: 'gone', as: 'event' }), () => server.resume('go-on')],
  ])('%s: names stay, and follow once it is back', async (what, leave, back) => {
    await namedA();
    const connected = async () => sampleValue(await agent.page(), 'netsonde_kubernetes_connected', {});
    await eventually(async () => expect(await connected()).toBe(1));
    const since = performance.now();
    // After a broken stream, the agent sends a request and thereby detects the other failures.
    if (what !== 'killed, and back with other versions') server.resetStreams();
    await leave();
    if (what !== 'answering 410') await eventually(async () => expect(await connected()).toBe(0));
    expect(sampleValue(await agent.page(), IN_USE, A)).toBeDefined();
    server.put('pods', webPod(podB.uid, `web-b-${server.requests.length}`, []));
    const { length } = server.requests;
    const asked = await askedOf(agent);
    await eventually(async () => expect(await askedOf(agent)).toBeGreaterThan(asked));
    await back();
    server.put('pods', webPod(podB.uid, `web-c-${length}`, []));
    await eventually(async () => {
      expect(sampleValue(await agent.page(), IN_USE, { namespace: 'shop', pod: `web-c-${length}` })).toBeDefined();
    });
    const seconds = (performance.now() - since) / 1_000;
    for (const resource of ['pods', 'nodes']) {
      // The limit is one request per second, plus the request that detects the failure.
      expect(server.requestsSince(resource, since).length).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
    }
  });
});

describe('peers: cluster', () => {
  it('names Pods with their workload, Services, nodes, and addresses outside', async () => {
    await eventually(async () => {
      const page = await clusterAgent.page();
      for (const resource of ['nodes', 'services', 'remote_pods']) {
        expect(sampleValue(page, 'netsonde_kubernetes_sync_age_seconds', { resource })).toBeDefined();
      }
    });
    const peerOf = async (ip: string): Promise<Peer | undefined> => {
      pair.a.netns.ip(`addr add ${ip}/32 dev lo`);
      pair.b.netns.ip(`route replace ${ip}/32 dev ${pair.deviceB}`);
      pair.a.netns.python(
        `import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('${ip}', 4711)); s.sendto(b'x', ('${pair.addressB.ipv4}', 7001))`,
      );
      return eventually(() => {
        const found = eventsOf(clusterAgent.stdout).find(({ src }) => src === `${ip}:4711`);
        if (found === undefined) throw new Error(`no event of ${ip}`);
        return found.peer;
      });
    };
    expect(await peerOf('10.9.0.77')).toEqual({ kind: 'service', namespace: 'shop', name: 'db', ip: '10.9.0.77' });
    expect(await peerOf('10.9.0.78')).toEqual({
      kind: 'pod',
      namespace: 'shop',
      name: 'db-0',
      workload: 'db',
      ip: '10.9.0.78',
    });
    // The Pod has ended, so the owner of its address is unknown.
    expect(await peerOf('10.9.0.79')).toBeUndefined();
    expect(await peerOf('192.0.2.20')).toEqual({ kind: 'node', namespace: '', name: 'node-2', ip: '192.0.2.20' });
    expect(await peerOf('203.0.113.5')).toEqual({ kind: 'external', namespace: '', name: '', ip: '203.0.113.5' });
  });
});

it('on SIGTERM the agent ends cleanly while the API server takes requests and answers none', async () => {
  await namedA();
  server.mood = { kind: 'hangs' };
  server.resetStreams();
  await eventually(async () => expect(sampleValue(await agent.page(), 'netsonde_kubernetes_connected', {})).toBe(0));
  agent.signal('SIGTERM');
  // Kubernetes would kill an agent that does not exit by itself.
  expect(await agent.exited).toMatchObject({ code: 0 });
  expect(agent.stderr).toContain('SIGTERM: the agent is shutting down');
});
