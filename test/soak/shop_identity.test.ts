import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { FlowEdge, FlowsReport } from '#api/flows.ts';
import type { FlowRole } from '#api/words.ts';
import { NODES, OUTSIDE, PAYMENTS_NAME, SHOP_IP, WORKLOADS } from '../shop/plan.ts';
import { Shop } from '../shop/shop.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const WINDOW_MS = 30_000;
/** Timeout until all peers have names. An agent first lists the objects of other nodes after a random delay. */
const LISTED_MS = 120_000;
const UNKNOWN_MAX = 0.01;
const PAYMENTS = '192.0.2.80';
/** Prefix of all Pod addresses. */
const PODS = '10.244.';

type Numbers = Pick<FlowEdge, 'connections' | 'sentBytes' | 'receivedBytes'>;

/** Shares of edges with a peer without a name: in the number of edges that grew, and in their growth. */
interface Unknown {
  readonly bytes: number;
  readonly connections: number;
  readonly edges: number;
}

let shop: Shop;
const folder = mkdtempSync(join(tmpdir(), 'shop-'));

beforeAll(async () => {
  shop = await Shop.start(folder);
});
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const CASES = [
  { peers: 'off', known: [] },
  { peers: 'node', known: [] },
  { peers: 'services', known: ['client'] },
  { peers: 'cluster', known: ['client', 'server'] },
] as const;

it.each(CASES)(
  'with peers: $peers, no peer has a wrong name, and ends $known have names',
  async ({ peers, known }) => {
    const external = { names: { [`${PAYMENTS}/32`]: PAYMENTS_NAME } };
    await shop.startAgents({ config: only({ flow: { enabled: true } }, { peers, external, sinks: {} }) });
    const complete = async () => {
      const edges = await read();
      expect(edges.length).toBeGreaterThan(0);
      for (const role of known)
        expect(edges.filter((edge) => edge.role === role && isNameless(edge)).map(({ peer }) => peer)).toEqual([]);
    };
    await eventually(complete, LISTED_MS);
    const before = await read();
    await wait(WINDOW_MS);
    const after = await read();
    expect(wrongOf(after)).toEqual([]);
    const shares = { client: unknownOf('client', before, after), server: unknownOf('server', before, after) };
    process.stdout.write(`${peers}: unknown ${JSON.stringify(shares)}\n`);
    for (const role of known) {
      const { bytes, connections, edges } = shares[role];
      expect(Math.max(bytes, connections, edges), role).toBeLessThanOrEqual(UNKNOWN_MAX);
    }
    if (known.length > 0) await expectEdges(after);
  },
  400_000,
);

/**
 * Returns the edges of the Pods of both nodes. Excludes edges to Pods that have ended, because their addresses have no
 * owner.
 */
async function read(): Promise<readonly FlowEdge[]> {
  const reports = await Promise.all(shop.agents.map((agent) => agent.json<FlowsReport>('/api/v1/flows?limit=10000')));
  const pods = shop.api.list('pods').map(({ status }) => status as { phase: string; podIP: string });
  const running = new Set(pods.filter(({ phase }) => phase === 'Running').map(({ podIP }) => podIP));
  return reports
    .flatMap(({ edges }) => edges)
    .filter(({ pod, peerKind }) => isShopPod(pod) && peerKind !== 'self')
    .filter(({ peer }) => !peer.startsWith(PODS) || running.has(peer));
}

/** Returns false for the node, which only uses the API, and for namespaces of the other node and of other tests. */
function isShopPod(pod: string | null): boolean {
  return pod !== null && workloadOf(pod) !== undefined;
}

function workloadOf(pod: string): string | undefined {
  return WORKLOADS.find(({ name }) => pod.startsWith(`${name}-`))?.name;
}

/** Whether a peer has no name, or none yet. */
function isNameless({ peerKind }: Pick<FlowEdge, 'peerKind'>): boolean {
  return peerKind === 'unknown' || peerKind === 'pending';
}

const keyOf = ({ netns, role, peer, port }: FlowEdge) => `${netns} ${role} ${peer} ${port}`;

function unknownOf(role: FlowRole, before: readonly FlowEdge[], after: readonly FlowEdge[]): Unknown {
  const earlier = new Map<string, Numbers>(before.map((edge) => [keyOf(edge), edge]));
  const grown = after
    .filter((edge) => edge.role === role)
    .map((edge) => {
      const { connections, sentBytes, receivedBytes } = earlier.get(keyOf(edge)) ?? NOTHING;
      const bytes = edge.sentBytes + edge.receivedBytes - sentBytes - receivedBytes;
      return { isUnknown: isNameless(edge), bytes, connections: edge.connections - connections, edges: 1 };
    })
    .filter(({ bytes, connections }) => bytes > 0 || connections > 0);
  const shareOf = (field: 'bytes' | 'connections' | 'edges') => {
    const sum = (rows: typeof grown) => rows.reduce((total, row) => total + row[field], 0);
    return sum(grown.filter(({ isUnknown }) => isUnknown)) / sum(grown);
  };
  return { bytes: shareOf('bytes'), connections: shareOf('connections'), edges: shareOf('edges') };
}

const NOTHING: Numbers = { connections: 0, sentBytes: 0, receivedBytes: 0 };

/** Returns the edges whose own workload or whose peer has a name that contradicts the plan. */
function wrongOf(edges: readonly FlowEdge[]): string[] {
  const names = namesByIp();
  return edges.flatMap(({ pod, workload, peer, peerKind, peerNamespace, peerName }) => {
    const name = `${peerKind} ${peerNamespace}/${peerName}`;
    const isRight = isNameless({ peerKind }) || names.get(peer)?.includes(name) === true;
    const isOwnRight = workload === workloadOf(pod ?? '');
    return isRight && isOwnRight ? [] : [`${pod} (${workload}) ${peer}: ${name}, not ${names.get(peer)}`];
  });
}

/** Returns the true names of all addresses. A Pod is named after its workload, or after its Service. */
function namesByIp(): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, readonly string[]>();
  for (const { name, ip } of NODES) names.set(ip, [`node /${name}`]);
  for (const { name, ip } of OUTSIDE) names.set(ip, [`external /${name === 'payments' ? PAYMENTS_NAME : ''}`]);
  for (const { namespace, service } of WORKLOADS) {
    if (service === undefined) continue;
    names.set(service.ip, [`service ${namespace}/${service.name}`]);
    if (service.isPublic === true) names.set(SHOP_IP, [`service ${namespace}/${service.name}`]);
  }
  for (const { metadata, status } of shop.api.list('pods')) {
    const { namespace = '', name } = metadata;
    const plan = WORKLOADS.find((each) => each.namespace === namespace && each.name === workloadOf(name));
    if (plan === undefined) continue;
    const { podIP } = status as { podIP: string };
    const behind = plan.service === undefined ? [] : [`service ${namespace}/${plan.service.name}`];
    names.set(podIP, [`workload ${namespace}/${plan.name}`, ...behind]);
  }
  return names;
}

/**
 * Checks that the agents show each edge that a client in the cluster has counted itself, with the right names. Edges of
 * Jobs may be missing, because a Job may have run before the agents started.
 */
async function expectEdges(edges: readonly FlowEdge[]): Promise<void> {
  const seen = new Set(
    edges
      .filter(({ role }) => role === 'client')
      .map(
        ({ namespace, workload, peerNamespace, peerName, port }) =>
          `${namespace}/${workload} ${peerNamespace}/${peerName}:${port}`,
      ),
  );
  const truth = await shop.truth();
  const expected = truth.edges
    .filter(({ client, connections }) => client.kind === 'workload' && client.name !== 'reports' && connections > 0)
    .map(({ client, server, port }) => {
      const name = server.kind === 'external' ? `/${PAYMENTS_NAME}` : `${server.namespace}/${server.name}`;
      return `${client.namespace}/${client.name} ${name}:${port}`;
    });
  expect(expected.length).toBeGreaterThan(0);
  expect([...seen]).toEqual(expect.arrayContaining(expected));
}
