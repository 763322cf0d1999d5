import { afterEach, beforeEach, expect, it } from 'vitest';
import { FLOW_RECORD, FLOWS_REPORT } from '#api/flows.ts';
import { toCounter } from '#core/counter.ts';
import { asNetnsId } from '#core/netns.ts';
import { type AnyProbe, defineProbe, type ProbeScope } from '#probe/contract.ts';
import { type EdgeTotals, FLOW_PROBE } from '#probe/flow_edges.ts';
import { type EndedConnection, FLOW_RECORDS, flowRecord } from '#probe/flow_record.ts';
import { UNOFFERED } from '#probe/records.ts';
import { makeFlowRow } from '../support/flow_rows.ts';
import { TestNetns } from '../support/hosts.ts';
import { probesOf, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const START_MS = 1_767_225_600_000;
const SELECTION = { failed: false, limit: 1_000 };

let scope: ProbeScope<Record<string, never>> | undefined;
let rows: readonly EdgeTotals[];
/**
 * Numbers of records in this run that were dropped because the ring was full (`lost`) or by the kernel's rate limit
 * (`limited`).
 */
let unoffered: { limited: bigint; lost: bigint };
let netns: TestNetns;
let agent: TestKernel;

/** A probe that offers the rows and records of the test in the same way as a probe that reads the kernel. */
const provider: AnyProbe = defineProbe({
  name: FLOW_PROBE,
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary: 'A probe of a test.',
  guide: { question: '', when: '', query: '', limits: [''] },
  metrics: {},
  events: {},
  records: FLOW_RECORDS,
  options: {},
  requires: { capabilities: [], kernel: 'nothing' },
  measured: { nothing: { measured: 'nothing', date: '2026-01-01' } } as never,
  open: async (opened) => {
    scope = opened;
    let collections = 0;
    const earlier = opened.retained(UNOFFERED);
    const total = () => ({
      limited: earlier.value.limited + unoffered.limited,
      lost: earlier.value.lost + unoffered.lost,
    });
    opened.own({
      [Symbol.dispose]: () => {
        earlier.value = total();
        unoffered = { limited: 0n, lost: 0n };
      },
    });
    return {
      health: () => ({ reader: 'test', degraded: [] }),
      collect: async () => {
        collections++;
      },
      edges: () =>
        collections === 0 ? undefined : { collectedAtMs: START_MS + collections, edges: rows, departed: [] },
      unoffered: total,
    };
  },
});

beforeEach(async () => {
  netns = new TestNetns();
  unoffered = { limited: 0n, lost: 0n };
  rows = [];
  agent = await TestKernel.open('{}', { probes: [provider] });
});

afterEach(async () => {
  await agent?.[Symbol.asyncDispose]();
  netns?.[Symbol.dispose]();
});

const configure = (yaml: string) => agent.kernel.configure(probesOf(yaml, [provider]));

const idOf = (id: bigint) => asNetnsId(toCounter(id));

function refused(id: bigint): EndedConnection {
  return {
    ...makeFlowRow(),
    timeNs: 1_767_225_600_000_000_000n,
    netns: idOf(id),
    local: '10.0.0.1',
    localPort: 40_000,
    peer: '10.0.0.7',
    peerPort: 5_432,
    state: 'SYN_SENT',
    outcome: { cause: 'refused' },
    connectSeconds: 0.001,
    roundTripSeconds: null,
    minRoundTripSeconds: null,
    startedNs: null,
  };
}

it('totals have the owner of their namespace, and the time of the collection', async () => {
  rows = [makeFlowRow({ netns: idOf(netns.id) }), makeFlowRow({ netns: idOf(1n << 60n), port: 1 })];
  const answer = await agent.kernel.flows.report(SELECTION);
  if (!('report' in answer)) throw new Error(answer.unavailable);
  const { edges, collectedAt } = FLOWS_REPORT.parse(answer.report);
  expect(edges).toMatchObject([
    { pod: netns.name, netns: String(netns.id), port: 5_432 },
    { pod: null, namespace: null, port: 1 },
  ]);
  expect(collectedAt).toBe('2026-01-01T00:00:00.001Z');
  // Requests that arrive within two seconds of a collection receive its result.
  expect(await agent.kernel.flows.report(SELECTION)).toMatchObject({ report: { collectedAt } });
});

it('the answer says what to do where there are none', async () => {
  await configure('probes: { flow: { metrics: false } }');
  expect(await agent.kernel.flows.report(SELECTION)).toEqual({
    unavailable: expect.stringContaining('`metrics: false`'),
    isTransient: false,
  });
  await configure('probes: { flow: false }');
  expect(await agent.kernel.flows.report(SELECTION)).toEqual({
    unavailable: expect.stringContaining('the probe flow is off'),
    isTransient: false,
  });
  await configure('{}');
  expect(await agent.kernel.flows.report(SELECTION)).toHaveProperty('report');
});

const entry = () => agent.kernel.ledger().find(({ kind }) => kind === 'flow');
const values = () => agent.records.flatMap((batch) => (batch.kind === 'flow' ? batch.values : []));

it('records have the owner of a namespace that is new, and the ledger balances over runs of the probe', async () => {
  using newborn = new TestNetns();
  scope?.record(flowRecord(refused(newborn.id)));
  scope?.record(flowRecord({ ...refused(newborn.id), outcome: { end: 'closed' } }));
  const [record] = await eventually(() => {
    expect(values()).toHaveLength(1);
    return values();
  });
  expect(FLOW_RECORD.parse(record)).toMatchObject({
    time: '2026-01-01T00:00:00.000000000Z',
    probe: 'flow',
    node: 'test-node',
    netns: String(newborn.id),
    pod: newborn.name,
    cause: 'refused',
  });
  unoffered = { limited: 3n, lost: 2n };
  expect(entry()).toEqual({
    kind: 'flow',
    probe: 'flow',
    stage: 'kernel',
    produced: 6,
    limited: 3,
    limitedLater: 0,
    lost: 2,
  });
  await configure('probes: { flow: { records: { perPod: 1/h, sample: 100% } } }');
  for (let count = 0; count < 5; count++) {
    scope?.record(flowRecord({ ...refused(newborn.id), outcome: { end: 'closed' } }));
  }
  expect(entry()).toMatchObject({ produced: 11, limited: 3, limitedLater: 4, lost: 2 });
  await configure('probes: { flow: false }');
  expect(entry()).toMatchObject({ produced: 11, limited: 3, limitedLater: 4, lost: 2 });
  await eventually(() => expect(values()).toHaveLength(2));
});
