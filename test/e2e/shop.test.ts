import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EntityStatus } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { FlowsReport } from '#api/flows.ts';
import type { IncidentsReport } from '#api/incidents.ts';
import type { MapReport } from '#api/map.ts';
import { freeCycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import { openNetnsObject } from '#sources/bpf/netns_object.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { EDGES } from '../shop/edges.ts';
import type { FaultName } from '../shop/faults.ts';
import { NODES, WORKLOADS } from '../shop/plan.ts';
import type { State } from '../shop/state.ts';
import type { TrueEdge, Truth } from '../shop/truth.ts';
import { BIN } from '../support/agent_process.ts';
import { parseExposition, sampleValue } from '../support/exposition.ts';
import { OBJECTS, only } from '../support/kernel.ts';
import { lacksApplications } from '../support/lan/programs.ts';
import { eventually } from '../support/oracle.ts';

const execute = promisify(execFile);
const MAIN = new URL('../shop/main.ts', import.meta.url).pathname;
const SHOWN = WORKLOADS.filter(({ kind }) => kind !== 'CronJob');

const nameOf = ({ namespace, name }: { namespace: string; name: string }) =>
  namespace === '' ? name : `${namespace}/${name}`;
const edgeOf = ({ client, server, port }: TrueEdge) => `${nameOf(client)} > ${nameOf(server)}:${port}`;

describe.skipIf(lacksApplications())('the shop', () => {
  // The name of the directory is also used for the cgroup.
  const folder = mkdtempSync(join(tmpdir(), 'shop-'));
  const config = `${folder}.yaml`;
  /** The shop's network namespaces. */
  let namespaces: ReadonlySet<NetnsId>;
  let state: State;

  async function shop(...args: string[]): Promise<string> {
    return (await execute(process.execPath, [MAIN, ...args, '--folder', folder])).stdout;
  }
  const truth = async () => JSON.parse(await shop('truth', '-o', 'json')) as Truth;
  const edge = async (name: string) => (await truth()).edges.find((each) => edgeOf(each) === name);
  const fault = (name: FaultName, on: 'on' | 'off') => shop('fault', name, on);

  beforeAll(() => {
    writeFileSync(
      config,
      only(
        { flow: { enabled: true }, packetloss: { enabled: true }, dns: { enabled: true } },
        { sinks: {}, events: { policies: true } },
      ),
    );
    return open('--config', config, '--port', '0');
  });
  afterAll(async () => {
    await shop('down');
    for (const path of [folder, config]) rmSync(path, { recursive: true, force: true });
  });

  async function open(...args: string[]): Promise<void> {
    await shop('up', ...args);
    state = JSON.parse(readFileSync(join(folder, 'state.json'), 'utf8')) as State;
    namespaces = await namespacesBelow(state.cgroup);
  }

  it('every edge exists, and no request fails', async () => {
    const told = await eventually(async () => {
      const now = await truth();
      expect(now.edges.map(edgeOf)).toEqual(expect.arrayContaining(EDGES));
      return now;
    });
    expect(told.edges.map(edgeOf).sort()).toEqual([...EDGES].sort());
    for (const each of told.edges) {
      expect(each, edgeOf(each)).toMatchObject({ failed: 0, isCurrent: true });
      expect(each.connections, edgeOf(each)).toBeGreaterThan(0);
      expect(Math.min(each.sentBytes, each.receivedBytes), edgeOf(each)).toBeGreaterThan(0);
    }
    // Requests may time out while the agents and the programs start on a busy machine.
    await eventually(async () => {
      const before = await truth();
      const { requests } = await eventually(async () => {
        const now = await truth();
        expect(now.requests['served']).toBeGreaterThanOrEqual((before.requests['served'] ?? 0) + 20);
        return now;
      });
      expect(requests['failed']).toBe(before.requests['failed']);
    });
  });

  it('servers count the connections that their clients count', async () => {
    await eventually(async () => {
      const { edges, servers } = await truth();
      for (const name of ['data/postgres', 'data/redis', 'shop/orders', 'shop/cart', 'payments']) {
        const sum = (counts: readonly { connections: number }[]) =>
          counts.reduce((total, { connections }) => total + connections, 0);
        const opened = sum(edges.filter(({ behind }) => nameOf(behind) === name));
        expect(opened, name).toBeGreaterThan(0);
        expect(sum(servers.filter(({ server }) => nameOf(server) === name)), name).toBe(opened);
      }
    });
  });

  it('each agent sees the Pods of its node, and no others', async () => {
    for (const { name } of NODES) {
      const page = state.pages[name] ?? '';
      const pods = SHOWN.flatMap((plan) => plan.nodes.filter((node) => node === name).map(() => plan.name)).sort();
      await eventually(async () => {
        const response = await fetch(`${page}api/v1/entities`);
        const { entities } = (await response.json()) as { entities: EntityStatus[] };
        const shown = entities.filter(({ kind, sharesNode }) => kind === 'pod' && !sharesNode);
        const names = shown.filter(({ pod }) => !pod.startsWith('reports-')).map(({ pod }) => pod.split('-', 1)[0]);
        expect(names.sort()).toEqual(pods);
        expect(entities.filter(({ kind }) => kind !== 'pod')).toMatchObject([{ kind: 'node' }]);
        expect(entities.filter(({ sharesNode }) => sharesNode)).toMatchObject([{ namespace: 'netsonde' }]);
      });
    }
  });

  it('a server outside of the cluster has the name under which a Pod has resolved it', async () => {
    await eventually(async () => {
      const pages = Object.values(state.pages);
      const reports = await Promise.all(
        pages.map(async (page) => (await (await fetch(`${page}api/v1/flows?role=client`)).json()) as FlowsReport),
      );
      const named = reports.flatMap(({ edges }) => edges.filter(({ dnsNames }) => dnsNames.length > 0));
      expect(named.length).toBeGreaterThan(0);
      const found = named.map(({ pod, dnsNames }) => `${pod?.split('-', 1)[0]} > ${dnsNames}`);
      expect(new Set(found)).toEqual(new Set(['checkout > payments.example']));
    });
  });

  it('the map of an agent has only edges of its node', async () => {
    for (const { name } of NODES) {
      const { edges, nodes } = (await (await fetch(`${state.pages[name]}api/v1/map`)).json()) as MapReport;
      const kinds = new Map(nodes.map(({ id, kind }) => [id, kind]));
      const owners = edges.map(({ seenBy, source, target }) => kinds.get(seenBy === 'server' ? target : source));
      expect(new Set(owners)).toEqual(new Set(['workload']));
    }
  });

  it('a fault is switched on and off', async () => {
    const name = 'shop/checkout > shop/orders:80';
    await fault('refused', 'on');
    expect(await shop('faults')).toMatch(/^on {2}refused /m);
    await eventually(async () => expect((await edge(name))?.failed).toBeGreaterThan(0));
    await fault('refused', 'off');
    expect(await shop('faults')).not.toMatch(/^on /m);
    const before = await edge(name);
    const grown = async () => expect((await edge(name))?.connections).toBeGreaterThan(before?.connections ?? 0);
    await eventually(grown);
    expect((await edge(name))?.failed).toBe(before?.failed);
  });

  it('a packet that the node of the server drops names both ends', async () => {
    await fault('denied', 'on');
    const query = 'api/v1/events?type=packet_drop&since=10m&follow=false';
    const options = { headers: { Accept: 'application/x-ndjson' } };
    await eventually(async () => {
      const lines = (await (await fetch(`${state.pages['node-b']}${query}`, options)).text()).trim().split('\n');
      const drops = lines.map((line) => JSON.parse(line) as EventRecord).filter(({ pod }) => pod === '');
      expect(drops).toContainEqual(
        expect.objectContaining({
          reason: 'NETFILTER_DROP',
          // The Pod is on the other node, so the agent knows only the Service that lists it.
          srcOwner: expect.objectContaining({ namespace: 'shop', service: 'cart' }),
          dstOwner: expect.objectContaining({ namespace: 'data', workload: 'redis' }),
        }),
      );
    });
    await fault('denied', 'off');
  });

  it('an incident names the policy that denies a connection, or says that none does', async () => {
    const incidents = async () => {
      const response = await fetch(`${state.pages['node-b']}api/v1/incidents?cause=firewall&since=10m`);
      const report = (await response.json()) as IncidentsReport;
      return report.incidents.filter(({ state: now }) => now === 'open');
    };
    await fault('denied', 'on');
    await eventually(async () => {
      const found = await incidents();
      const toRedis = found.filter(({ server }) => server?.workload === 'redis');
      expect(toRedis).toHaveLength(1);
      expect(toRedis[0]?.policy).toMatch(
        /^ingress denied: NetworkPolicy\/data\/redis-clients selects the Pod, and no rule allows tcp\/6379 from shop\/cart-/,
      );
    });
    const args = ['incidents', '--url', state.pages['node-b'] ?? '', '--cause', 'firewall', '--since', '1m'];
    const { stdout } = await execute(BIN, args);
    const lines = stdout.split('\n').filter((line) => line.includes(' open ') && line.includes('redis-clients'));
    expect(lines).toHaveLength(1);
    await fault('denied', 'off');
    await fault('dropped', 'on');
    await eventually(async () => {
      const toPostgres = (await incidents()).filter(({ server }) => server?.workload === 'postgres');
      expect(toPostgres.map(({ policy }) => policy)).toEqual(['no policy of the Kubernetes API denies this']);
    });
    await fault('dropped', 'off');
    const page = parseExposition(await (await fetch(`${state.pages['node-b']}metrics`)).text());
    const value = (name: string, labels = {}) => sampleValue(page, `netsonde_policy_${name}`, labels);
    expect(value('decisions_total', { verdict: 'denied' })).toBeGreaterThan(0);
    expect(value('decisions_total', { verdict: 'none' })).toBeGreaterThan(0);
    expect(value('lookups_total', { resource: 'policies', outcome: 'read' })).toBeGreaterThan(0);
    expect(value('objects')).toBeGreaterThan(0);
  });

  it('leaves nothing', async () => {
    expect(namespaces.size).toBeGreaterThanOrEqual(SHOWN.length + NODES.length);
    expect(await alive(namespaces)).toBe(namespaces.size);
    const { cgroup } = state;
    await shop('down');
    await expectNothing(cgroup);
  });

  it('leaves nothing after a crash of its process', async () => {
    await open('--no-agents');
    const { cgroup } = state;
    process.kill(state.pid, 'SIGKILL');
    await eventually(async () => expect(await alive(namespaces)).toBe(0));
    expect(await shop('status')).toContain('has crashed');
    await shop('down');
    await expectNothing(cgroup);
  });

  async function expectNothing(cgroup: string): Promise<void> {
    expect([existsSync(cgroup), existsSync(folder)]).toEqual([false, false]);
    await eventually(async () => expect(await alive(namespaces)).toBe(0));
  }
});

/** Returns the network namespaces of all processes in a cgroup and below it. */
async function namespacesBelow(cgroup: string): Promise<Set<NetnsId>> {
  const found = new Set<number>();
  for (const entry of readdirSync(cgroup, { recursive: true, encoding: 'utf8' })) {
    if (!entry.endsWith('cgroup.procs')) continue;
    for (const pid of readFileSync(join(cgroup, entry), 'utf8').split('\n')) {
      const inum = pid === '' ? undefined : statSync(`/proc/${pid}/ns/net`, { throwIfNoEntry: false })?.ino;
      if (inum !== undefined) found.add(inum);
    }
  }
  return new Set((await live()).filter(({ inum, initial }) => found.has(inum) && !initial).map(({ id }) => id));
}

/** Returns how many of the namespaces the kernel lists. */
async function alive(namespaces: ReadonlySet<NetnsId>): Promise<number> {
  return (await live()).filter(({ id }) => namespaces.has(id)).length;
}

async function live(): Promise<NetnsRow[]> {
  using lists = await openNetnsObject(new BpfSource(OBJECTS, '/sys'), 0);
  return await lists.namespaces.list(freeCycle());
}
