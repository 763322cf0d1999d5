import { expect, it } from 'vitest';
import { type KernelLedgerEntry, LEDGER_REPORT } from '#api/ledger.ts';
import { Ledger } from '#delivery/ledger.ts';
import { accountsOf } from '#web/page/ledger.ts';
import { ledgerOf } from '../../test/support/agent_ledger.ts';
import { type Exposition, parseExposition } from '../../test/support/exposition.ts';
import { AgentMetrics, type AgentState } from './agent_metrics.ts';
import { ledgerReport, sourceRows } from './ledger.ts';

const EVENT = { kind: 'event', probe: 'packetloss' };
const REQUEST = { kind: 'request', probe: 'http' };
const SINKS = [
  { name: 'stdout', kinds: new Set(['event']) },
  { name: 'loki', kinds: new Set(['event', 'request']) },
];

const KERNEL: KernelLedgerEntry[] = [
  { ...EVENT, stage: 'kernel', produced: 30, limited: 6, limitedLater: 0, lost: 4 },
  { kind: 'event', probe: 'http', stage: 'kernel', produced: 0, limited: 0, limitedLater: 0, lost: 0 },
  { ...REQUEST, stage: 'agent', produced: 13, limited: 0, limitedLater: 4, lost: 0 },
];

function times(count: number, act: () => void): void {
  for (let done = 0; done < count; done++) act();
}

/**
 * Returns a ledger with 30 events, of which 20 arrived, and 13 requests, of which 9 arrived. Each sink dropped some of
 * these records, for different reasons.
 */
function books(): Ledger {
  const ledger = new Ledger();
  times(20, () => ledger.received(EVENT));
  times(9, () => ledger.received(REQUEST));
  times(3, () => ledger.folded(EVENT));
  ledger.held(EVENT, 1);
  times(2, () => ledger.limited(EVENT));
  times(14, () => ledger.published(EVENT));
  times(9, () => ledger.published(REQUEST));
  times(14, () => ledger.accepted(EVENT, 'stdout'));
  times(14, () => ledger.delivered(EVENT, 'stdout'));
  times(10, () => ledger.accepted(EVENT, 'loki'));
  times(9, () => ledger.accepted(REQUEST, 'loki'));
  ledger.recovered(EVENT, 'loki', 2);
  ledger.recovered(REQUEST, 'loki', 5);
  times(7, () => ledger.delivered(EVENT, 'loki'));
  times(6, () => ledger.delivered(REQUEST, 'loki'));
  ledger.dropped(REQUEST, 'loki', 'rejected', 3);
  return ledger;
}

async function pageOf(ledger: Ledger): Promise<Exposition> {
  const state: AgentState = {
    version: '0',
    pageAgeSeconds: 0,
    restarts: 0,
    stuckThreads: 0,
    config: { successful: true, appliedMs: 0, generation: 1 },
    sources: sourceRows(KERNEL, ledger.before()),
    unfolded: 0,
    incidents: { list: () => [], open: 0, totals: new Map(), leftOut: 0 },
    policies: undefined,
    sinkLedger: ledger.rows(SINKS),
    kubernetes: undefined,
    serviceWorkloads: [],
    sinks: [],
    http: { connections: 0, unreadBytes: 0, refused: new Map(), web: undefined },
  };
  return parseExposition(Buffer.concat(await new AgentMetrics().render('text', state)).toString());
}

/** Returns the samples without the prefix of their names and without the label `kind`. */
function samplesOf(page: Exposition, prefix: string, kind?: string): string[] {
  return page.samples
    .filter(({ name, labels }) => name.startsWith(prefix) && labels['kind'] === kind)
    .map(({ name, labels: { kind: _, ...labels }, value }) =>
      JSON.stringify([name.slice(prefix.length), Object.entries(labels).sort(), value]),
    )
    .sort();
}

it('balances for each kind, probe and sink, and matches the schema of the API', () => {
  const ledger = books();
  const report = LEDGER_REPORT.parse(ledgerReport(sourceRows(KERNEL, ledger.before()), ledger.rows(SINKS)));
  expect(accountsOf(report)).toMatchObject([
    { ...EVENT, sink: 'stdout', produced: 30, limited: 8, folded: 3, held: 1, delivered: 14, pending: 0, rest: 0 },
    { ...EVENT, sink: 'loki', recovered: 2, delivered: 7, pending: 5, rest: 0 },
    { ...REQUEST, sink: 'loki', produced: 13, limited: 4, recovered: 5, delivered: 6, pending: 5, rest: 0 },
  ]);
});

it('records of the kind event have the same values as the metrics of events', async () => {
  const page = await pageOf(books());
  const events = samplesOf(page, 'netsonde_events_').filter((text) => !text.startsWith('["unfolded'));
  expect(events.length).toBeGreaterThan(15);
  expect(samplesOf(page, 'netsonde_records_', 'event')).toEqual(events);
  expect(ledgerOf(page, 'packetloss', 'loki')).toMatchObject({ produced: 30, pending: 6, missing: 0 });
});

it('a probe shows records of its own kind besides its events', async () => {
  const page = await pageOf(books());
  const ours = [
    'produced_total',
    'limited_total',
    'pending',
    'recovered_total',
    'delivered_total',
    'dropped_total',
  ].map((name) =>
    page.samples
      .filter(({ labels }) => labels['kind'] === 'request' && labels['probe'] === 'http')
      .filter((sample) => sample.name === `netsonde_records_${name}`)
      .reduce((sum, { value }) => sum + Number(value), 0),
  );
  expect(ours).toEqual([13, 4, 5, 5, 6, 3]);
  const [produced = 0, limited = 0, pending = 0, recovered = 0, delivered = 0, dropped = 0] = ours;
  expect(produced + recovered).toBe(limited + pending + delivered + dropped);
});
