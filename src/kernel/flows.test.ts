import { expect, it } from 'vitest';
import { FLOWS_REPORT } from '#api/flows.ts';
import type { ProbeStatus } from '#api/probes.ts';
import { PROBE_STATES } from '#api/words.ts';
import type { ActiveProbe } from '#collectors/supervisor.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, hostPodId, type NetnsId } from '#core/netns.ts';
import type { EdgeTotals } from '#probe/flow_edges.ts';
import { makeFlowRow } from '../../test/support/flow_rows.ts';
import { type FlowSelection, reportFlows, whyNoFlows } from './flows.ts';

/** The report without requests, which another function adds. */
const CONNECTIONS = FLOWS_REPORT.unwrap().omit({ requests: true });

const ALL: FlowSelection = { failed: false, limit: 1_000 };
const [NODE, CART, STRANGE] = [1, 2, 3].map(asNetnsId) as [NetnsId, NetnsId, NetnsId];
const OWNERS = new Map([
  [NODE, { namespace: '', pod: '', workload: '' }],
  [CART, { namespace: 'shop', pod: 'cart', workload: 'carts' }],
]);

const ROWS: readonly EdgeTotals[] = [
  makeFlowRow({ port: 1, sentBytes: 1 }),
  makeFlowRow({ port: 2, retransmittedSegments: 50 }),
  makeFlowRow({
    port: 3,
    identity: { kind: 'service', namespace: 'shop', name: 'db' },
    failed: { refused: 2, timeout: 1, other: 0 },
  }),
  makeFlowRow({ port: 4, netns: NODE, role: 'server', peer: 'fd00::7', sentBytes: 2n ** 40n }),
  makeFlowRow({ port: 5, netns: STRANGE, failed: { unreachable: 1n }, roundTrips: { count: 0, sumSeconds: 0 } }),
  makeFlowRow({ port: 0, peer: null, failed: { given_up: 7 } }),
  makeFlowRow({ port: 0, peer: null, role: 'server', netns: NODE }),
];

function report(
  selection: Partial<FlowSelection> = {},
  edges: Iterable<EdgeTotals> = ROWS,
  departed: Iterable<EdgeTotals> = [],
) {
  const rows = { collectedAtMs: 1_767_225_600_123, edges, departed };
  return reportFlows('n1', rows, { ...ALL, ...selection }, (id) => OWNERS.get(id), freeCycle());
}

async function portsOf(selection: Partial<FlowSelection>) {
  const { edges, rest } = CONNECTIONS.parse(await report(selection));
  return [edges.map(({ port }) => port), rest.map(({ role }) => role)];
}

it('lists the edges worst first: by failures, then by the share of retransmitted segments, then by bytes', async () => {
  const said = CONNECTIONS.parse(await report());
  expect(said).toMatchObject({ node: 'n1', collectedAt: '2026-01-01T00:00:00.123Z', omitted: 0 });
  expect(said.edges.map(({ port }) => port)).toEqual([3, 5, 2, 4, 1]);
  expect(said.edges[0]).toEqual({
    namespace: 'shop',
    pod: 'cart',
    workload: 'carts',
    netns: '2',
    role: 'client',
    peer: '10.0.0.7',
    peerKind: 'service',
    peerNamespace: 'shop',
    peerName: 'db',
    dnsNames: [],
    port: 3,
    open: 1,
    connections: 10,
    failed: { refused: 2, timeout: 1 },
    ends: { closed: 9 },
    sentBytes: 1_000,
    receivedBytes: 2_000,
    sentSegments: 100,
    receivedSegments: 90,
    retransmittedSegments: 0,
    retransmittedBytes: 0,
    outOfOrderSegments: 0,
    busySeconds: 0.5,
    receiverLimitedSeconds: 0,
    sendBufferLimitedSeconds: 0.25,
    roundTripSeconds: 0.0005,
    roundTripCount: 4,
  });
});

it('says where the owner is unknown, where nothing was measured, and which counts have no row of their own', async () => {
  const { edges, rest } = await report();
  expect(edges[1]).toMatchObject({ namespace: null, pod: null, workload: null, netns: '3' });
  expect(edges[1]).toMatchObject({ roundTripSeconds: null, roundTripCount: 0 });
  expect(edges[3]).toMatchObject({ namespace: '', pod: '', sentBytes: 2 ** 40 });
  expect(rest).toMatchObject([
    { pod: 'cart', netns: null, role: 'client', peer: '*', peerKind: null, port: null, failed: { given_up: 7 } },
    { namespace: '', pod: '', netns: null, role: 'server', peer: '*', port: null },
  ]);
});

it.each<[Partial<FlowSelection>, unknown]>([
  [{ pod: 'cart' }, [[3, 2, 1], ['client']]],
  [{ namespace: 'shop', pod: 'cart', port: 2 }, [[2], ['client']]],
  [{ namespace: 'bank' }, [[], []]],
  [{ pod: '' }, [[4], ['server']]],
  [{ peer: 'fd00::7' }, [[4], ['client', 'server']]],
  [{ role: 'server' }, [[4], ['server']]],
  [{ failed: true }, [[3, 5], ['client']]],
  [{ failed: true, role: 'server' }, [[], []]],
])('%j selects', async (selection, ports) => {
  expect(await portsOf(selection)).toEqual(ports);
});

it('adds up the rows of one Pod with the same peer, and names the node’s namespace for a Pod that shares it', async () => {
  const shared = hostPodId(1);
  const rows = [
    makeFlowRow({ netns: shared, failed: { refused: 1 } }),
    makeFlowRow({ netns: shared, failed: { refused: 2, timeout: 1 }, roundTrips: { count: 0, sumSeconds: 0 } }),
    makeFlowRow({ netns: shared, role: 'server' }),
  ];
  const owner = { namespace: 'kube-system', pod: 'dns', workload: 'dns', sharedNetns: NODE };
  const edges = { collectedAtMs: 0, edges: rows, departed: [] };
  const said = CONNECTIONS.parse(await reportFlows('n1', edges, ALL, () => owner, freeCycle()));
  expect(said.edges).toMatchObject([
    {
      pod: 'dns',
      netns: '1',
      role: 'client',
      open: 2,
      connections: 20,
      failed: { refused: 3, timeout: 1 },
      ends: { closed: 18 },
      sentBytes: 2_000,
      busySeconds: 1,
      roundTripSeconds: 0.0005,
    },
    { pod: 'dns', role: 'server', connections: 10 },
  ]);
});

it('a limit keeps the worst edges, and the report says how many it leaves out', async () => {
  const { edges, omitted, rest } = await report({ limit: 2 });
  expect([edges.map(({ port }) => port), omitted, rest.length]).toEqual([[3, 5], 3, 2]);
});

it('gives the thread to others between slices of many rows', async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const many = function* () {
    for (let port = 0; port < 65_536; port++) yield makeFlowRow({ port });
  };
  const { edges, omitted } = await report({ limit: 20_000 }, many());
  clearInterval(timer);
  expect([edges.length, omitted]).toEqual([20_000, 45_536]);
  expect(turns).toBeGreaterThan(0);
});

it.each(PROBE_STATES.map((state) => [state]))('says what to do where the probe is %s', (state) => {
  const status = { name: 'flow', state, reason: state === 'failed' ? 'no room' : '' } as ProbeStatus;
  const { unavailable, isTransient } = whyNoFlows([status], undefined);
  expect(isTransient).toBe(state === 'starting');
  if (state === 'stopped') expect(unavailable).toContain('probes: { flow: { enabled: true } }');
  else expect(unavailable).toBe(`the probe flow is ${state}${state === 'failed' ? ': no room' : ''}`);
});

it('says what to do where the probe runs without totals', () => {
  const status = { name: 'flow', state: 'running', reason: '' } as ProbeStatus;
  const active = (metrics: boolean) => ({ name: 'flow', metrics }) as ActiveProbe;
  expect(whyNoFlows([status], active(false))).toEqual({
    unavailable: expect.stringContaining('remove `metrics: false`'),
    isTransient: false,
  });
  expect(whyNoFlows([status], active(true))).toEqual({
    unavailable: 'the probe flow has collected nothing yet',
    isTransient: true,
  });
  expect(whyNoFlows([], undefined).unavailable).toContain('the probe flow is off');
});

it('rows that have ended are added up by owner and role, so that no sum decreases', async () => {
  const row = makeFlowRow({ port: 1, sentBytes: 40, failed: { refused: 2 } });
  const other = makeFlowRow({ port: 2, sentBytes: 2 });
  const stranger = makeFlowRow({ port: 3, netns: STRANGE, sentBytes: 5 });
  const sumOf = async (edges: EdgeTotals[], departed: EdgeTotals[]) => {
    const said = CONNECTIONS.parse(await report({}, edges, departed));
    return [...said.edges, ...said.rest, ...said.departed].reduce((sum, { sentBytes }) => sum + sentBytes, 0);
  };
  expect(await sumOf([row, other, stranger], [])).toBe(47);
  expect(await sumOf([other], [row, stranger])).toBe(47);
  expect(await sumOf([], [row, other, stranger])).toBe(47);
  const { departed } = await report({}, [], [row, other, stranger]);
  expect(departed).toMatchObject([
    { pod: OWNERS.get(row.netns)?.pod, role: 'client', peer: '*', port: null, sentBytes: 42, failed: { refused: 2 } },
    { pod: null, netns: null, sentBytes: 5 },
  ]);
  expect((await report({ failed: true, port: 9 }, [], [row, stranger])).departed).toHaveLength(1);
});
