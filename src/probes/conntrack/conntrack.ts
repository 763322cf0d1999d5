import * as z from 'zod';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { defineMetrics, type Emit, NO_LABELS, NODE } from '#probe/metric.ts';
import { defineRetained } from '#probe/retained.ts';
import { ConntrackReader } from '#sources/conntrack/reader.ts';
import type { ConntrackRow } from '#sources/conntrack/snapshot.ts';
import { WideCounters } from '#sources/conntrack/wide.ts';
import type { SourceErrors } from '#sources/errors.ts';
import { CONNTRACK_COUNTERS, OTHER_STATES, PROTOCOLS, TCP_STATES } from '#sources/netlink/conntrack.ts';
import type { Sources } from '#sources/sources.ts';
import { PRESSURE_EVENTS, watchPressure } from './conntrack_pressure.ts';

// These metrics are per network namespace. All namespaces share one hash table, but each one counts its own entries and
// failures (net->ct.stat, nf_conntrack_net.count). The limit is a node metric, because it is a single setting with
// which the kernel compares the count of each namespace (kernel 6.18: net/netfilter/nf_conntrack_core.c,
// __nf_conntrack_alloc()). Namespaces without entries and failures are not shown, because most Pods never track a
// connection.

const counter = { type: 'counter', scope: 'pod', labels: {} } as const;

const metrics = defineMetrics({
  entries: {
    type: 'gauge',
    scope: 'pod',
    labels: {},
    name: 'netsonde_conntrack_entries',
    help: 'Connections that the network namespace currently tracks.',
    source: 'ctnetlink CTA_STATS_GLOBAL_ENTRIES',
    detail: 'core',
  },
  limit: {
    type: 'gauge',
    scope: 'node',
    labels: {},
    name: 'netsonde_conntrack_entries_limit',
    help: 'Maximum number of connections that each network namespace may track (net.netfilter.nf_conntrack_max).',
    source: 'ctnetlink CTA_STATS_GLOBAL_MAX_ENTRIES',
    detail: 'core',
  },
  invalid: {
    ...counter,
    name: 'netsonde_conntrack_invalid_total',
    help: 'Packets that belong to no tracked connection and could not start one.',
    source: 'ctnetlink CTA_STATS_INVALID',
    detail: 'core',
  },
  insertFailed: {
    ...counter,
    name: 'netsonde_conntrack_insert_failed_total',
    help: 'Connections that could not be added to the table, usually because another connection has the same addresses and ports; their first packet is lost.',
    source: 'ctnetlink CTA_STATS_INSERT_FAILED',
    detail: 'core',
  },
  drop: {
    ...counter,
    name: 'netsonde_conntrack_drops_total',
    help: 'Packets dropped because their connection could not be tracked. Either the table was full or the entry could not be added.',
    source: 'ctnetlink CTA_STATS_DROP',
    detail: 'core',
  },
  earlyDrop: {
    ...counter,
    name: 'netsonde_conntrack_early_drops_total',
    help: 'Connections evicted early to free space in a full table.',
    source: 'ctnetlink CTA_STATS_EARLY_DROP',
    detail: 'core',
  },
  found: {
    ...counter,
    name: 'netsonde_conntrack_found_total',
    help: 'Times that another connection already used the addresses and ports that NAT had chosen.',
    source: 'ctnetlink CTA_STATS_FOUND',
    detail: 'full',
  },
  insert: {
    ...counter,
    name: 'netsonde_conntrack_inserts_total',
    help: 'Entries that user space added to the table.',
    source: 'ctnetlink CTA_STATS_INSERT',
    detail: 'full',
  },
  error: {
    ...counter,
    name: 'netsonde_conntrack_errors_total',
    help: 'ICMP messages that were malformed or belonged to no tracked connection.',
    source: 'ctnetlink CTA_STATS_ERROR',
    detail: 'full',
  },
  searchRestart: {
    ...counter,
    name: 'netsonde_conntrack_search_restarts_total',
    help: 'Look-ups restarted because the table changed concurrently.',
    source: 'ctnetlink CTA_STATS_SEARCH_RESTART',
    detail: 'full',
  },
  clashResolve: {
    ...counter,
    name: 'netsonde_conntrack_clashes_resolved_total',
    help: 'Packets that lost the race against another packet to start the same connection, but were not dropped.',
    source: 'ctnetlink CTA_STATS_CLASH_RESOLVE',
    detail: 'full',
  },
  chainTooLong: {
    ...counter,
    name: 'netsonde_conntrack_chain_too_long_total',
    help: 'Connections not added because their hash chain was too long.',
    source: 'ctnetlink CTA_STATS_CHAIN_TOOLONG',
    detail: 'full',
  },
  byState: {
    type: 'gauge',
    scope: 'pod',
    name: 'netsonde_conntrack_entries_by_state',
    help: 'Connections that the network namespace currently tracks, by protocol and state. Requires `states: true`.',
    source: 'ctnetlink IPCTNL_MSG_CT_GET',
    detail: 'full',
    labels: {
      protocol: { help: 'IP protocol.', values: PROTOCOLS },
      state: {
        help: 'State of a TCP connection. For other protocols, whether there was a reply, and whether the connection is safe from early eviction (assured).',
        values: [...TCP_STATES, ...OTHER_STATES],
      },
    },
  },
});

/**
 * Milliseconds after which no further table is read to count entries by state. A collection may take one second, so the
 * last read has at least half a second.
 */
const STATES_MS = 500;

/**
 * Counters from earlier runs. With them, a counter that has wrapped around continues from its last value when the probe
 * is enabled again.
 */
const WIDE = defineRetained(() => new WideCounters());

type ConntrackEmit = Emit<typeof metrics>;

function isUsed({ entries, counters }: ConntrackRow): boolean {
  return entries > 0 || CONNTRACK_COUNTERS.some((name) => (counters[name] ?? 0) > 0);
}

function emitRow(emit: ConntrackEmit, { id, entries, counters }: ConntrackRow): void {
  emit('entries', id, entries, NO_LABELS);
  for (const name of CONNTRACK_COUNTERS) {
    const value = counters[name];
    if (value !== undefined) emit(name, id, value, NO_LABELS);
  }
}

/**
 * Emits the number of entries by protocol and state, starting with the longest tables. A table is skipped and counted
 * as such if it is too long, or if no time is left for it.
 */
async function emitStates(
  emit: ConntrackEmit,
  rows: readonly ConntrackRow[],
  reader: ConntrackReader,
  { netns }: Sources,
  errors: SourceErrors,
  statesMax: number,
  cycle: Cycle,
): Promise<void> {
  const endMs = performance.now() + STATES_MS;
  const places = new Map(netns.snapshot().map((entry) => [entry.id, entry]));
  for (const { id, entries } of [...rows].sort((a, b) => b.entries - a.entries)) {
    const place = places.get(id);
    if (place === undefined || entries === 0) continue;
    if (entries > statesMax || performance.now() > endMs) {
      errors.count(
        'netlink',
        'conntrack table',
        `a table of ${entries} entries was skipped because it is too long or the time was used up`,
      );
      continue;
    }
    for (const { protocol, state, count } of (await reader.states(place, entries, cycle)) ?? []) {
      emit('byState', id, count, { protocol, state });
    }
  }
}

export const conntrack = defineProbe({
  name: 'conntrack',
  kind: 'netlink',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Connection tracking of each Pod and of the node: how full the table is, and connections that could not be tracked. Recommended on nodes with firewalls or NAT.',
  guide: {
    question: 'Is the table of tracked connections full, and were packets dropped because of it?',
    when: 'Look here when new connections of many Pods fail at the same time, often beginning with DNS. Enable `states` to see which connections fill a table.',
    query:
      'max by (node, namespace, pod) (netsonde_conntrack_entries) / on (node) group_left () max by (node) (netsonde_conntrack_entries_limit > 0) > 0.8',
    limits: [
      'A namespace is shown only after its first entry. Most Pods track nothing because the node tracks their connections.',
      'Tables with more than `statesMax` entries are not read by state.',
    ],
  },
  metrics,
  events: PRESSURE_EVENTS,
  options: {
    threshold: z
      .number()
      .gt(0)
      .max(1)
      .default(0.9)
      .describe('Share of the limit at which the entries of a network namespace cause an event.'),
    states: z
      .boolean()
      .default(false)
      .describe(
        'Also count the entries by protocol and state. Each scrape then reads the tables of all network namespaces with entries in a worker thread, which takes 10 ms of CPU per table and 2 ms per 1,000 entries. Only with `detail: full`.',
      ),
    statesMax: z
      .int()
      .min(1)
      .max(100_000)
      .default(20_000)
      .describe(
        'Maximum number of entries in a table that is read for `states`. Tables that are longer, or for which there is no time, are skipped and counted in `netsonde_source_errors_total`.',
      ),
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN', 'CAP_SYS_ADMIN'],
    kernel:
      'nf_conntrack, which may be loaded later; the agent does not load it. Since 5.19 and with the BTF of the module, one walk in the kernel reads all namespaces. Otherwise, and for `states`, the agent queries ctnetlink in each namespace.',
  },
  measured: { collect: { ms: 0.31, withoutMs: 9.9 } },
  open: async (scope, sources, { events, options: { threshold, states, statesMax } }) => {
    const { paths, errors, warn } = scope;
    const wide = scope.retained(WIDE).value;
    const reader = scope.own(await ConntrackReader.open({ ...sources, paths, errors, warn }, wide));
    const used = new Set<NetnsId>();
    scope.own(
      sources.netns.onSweep((isDead) => {
        for (const id of used) if (isDead(id)) used.delete(id);
        wide.sweep(isDead);
      }),
    );
    if (events) await watchPressure(scope, sources, reader, threshold);
    return {
      health: () => {
        const { degraded, ...health } = reader.health;
        const noStates = states && reader.refusal !== undefined ? [`no entries by state: ${reader.refusal}`] : [];
        return { ...health, degraded: [...degraded, ...noStates] };
      },
      collect: async (emit, cycle) => {
        const { rows, limit } = await reader.read(cycle);
        if (limit !== undefined) emit('limit', NODE, limit, NO_LABELS);
        for (const row of rows) {
          if (isUsed(row)) used.add(row.id);
          if (used.has(row.id)) emitRow(emit, row);
        }
        if (states && emit.wants('byState') && reader.refusal === undefined)
          await emitStates(emit, rows, reader, sources, scope.errors, statesMax, cycle);
      },
      ledger: () => scope.retained(EVENT_LEDGER).value,
    };
  },
});
