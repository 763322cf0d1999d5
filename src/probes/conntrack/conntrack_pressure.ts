import type { NetnsId } from '#core/netns.ts';
import type { ProbeScope } from '#probe/contract.ts';
import { defineEvents } from '#probe/event.ts';
import { watchRepeatedly } from '#probe/watch.ts';
import type { ConntrackReader } from '#sources/conntrack/reader.ts';
import type { ConntrackRow, ConntrackSnapshot } from '#sources/conntrack/snapshot.ts';
import type { Sources } from '#sources/sources.ts';

export const PRESSURE_EVENTS = defineEvents({
  conntrack_pressure: {
    help: 'Connections could not be tracked, or the table is nearly full. Repeated at most once a minute per network namespace while the problem lasts.',
    severity: 'warning',
    equalBy: [],
    fields: {
      entries: { type: 'number', help: 'Connections that the network namespace currently tracks.' },
      limit: {
        type: 'number',
        help: 'Maximum number of connections that the network namespace may track (net.netfilter.nf_conntrack_max).',
        optional: true,
      },
      insertFailed: { type: 'number', help: 'Connections that could not be added to the table.' },
      drops: { type: 'number', help: 'Packets dropped because their connection could not be tracked.' },
      earlyDrops: { type: 'number', help: 'Connections evicted early to free space.' },
      seconds: { type: 'number', help: 'Period in which the failures were counted.' },
    },
  },
});

const LOOK_EVERY_MS = 10_000;
/** Minimum interval in milliseconds between two events of a namespace. It is stricter than any `limit`. */
const PAUSE_MS = 60_000;
const NANOSECONDS_PER_MS = 1_000_000n;

const COUNTERS = ['insertFailed', 'drop', 'earlyDrop'] as const;
type Failures = Readonly<Record<(typeof COUNTERS)[number], number>>;

const NO_FAILURES: Failures = { insertFailed: 0, drop: 0, earlyDrop: 0 };

/** A namespace whose table is nearly full, or has failed to add connections. */
export interface Pressure {
  readonly netns: NetnsId;
  readonly entries: number;
  readonly limit: number | undefined;
  /** Failures since the last event, or since the last check that found no problem. */
  readonly failures: Failures;
  readonly seconds: number;
}

/** State of a namespace from which failures are counted. */
interface Baseline {
  readonly counted: Failures;
  readonly atMs: number;
  readonly reportedMs: number;
}

export interface Findings {
  readonly pressures: readonly Pressure[];
  /**
   * Number of namespaces under pressure for which an event was sent less than a minute ago. Their failures are included
   * in their next event.
   */
  readonly limited: number;
}

/**
 * Finds tables that are filled beyond a threshold, or have had failures since the last check. Failures that cannot be
 * reported yet are added to the next event.
 */
export class PressureWatch {
  readonly #threshold: number;
  readonly #baselines = new Map<NetnsId, Baseline>();
  /**
   * Namespaces that had owners at the last check. If a namespace is not among them, it is new, and all of its failures
   * have occurred since that check.
   */
  #known: ReadonlySet<NetnsId> | undefined;
  #lookedMs = 0;

  /**
   * @param threshold fraction of the limit, 0 to 1
   */
  constructor(threshold: number) {
    this.#threshold = threshold;
  }

  /** @param known namespaces that have owners; rows of other namespaces are ignored */
  look({ rows, limit }: ConntrackSnapshot, known: ReadonlySet<NetnsId>, nowMs: number): Findings {
    const pressures: Pressure[] = [];
    let limited = 0;
    for (const id of this.#baselines.keys()) if (!known.has(id)) this.#baselines.delete(id);
    for (const row of rows) {
      if (!known.has(row.id)) continue;
      const baseline = this.#baselineOf(row, nowMs);
      const failures = since(baseline.counted, row);
      const pressed = this.#isFull(row, limit) || COUNTERS.some((name) => failures[name] > 0);
      if (pressed && nowMs - baseline.reportedMs < PAUSE_MS) {
        limited++;
        continue;
      }
      if (pressed) {
        const seconds = Math.round((nowMs - baseline.atMs) / 1000);
        pressures.push({ netns: row.id, entries: row.entries, limit, failures, seconds });
      }
      this.#baselines.set(row.id, {
        counted: countedBy(row),
        atMs: nowMs,
        reportedMs: pressed ? nowMs : baseline.reportedMs,
      });
    }
    this.#known = known;
    this.#lookedMs = nowMs;
    return { pressures, limited };
  }

  #isFull({ entries }: ConntrackRow, limit: number | undefined): boolean {
    return limit !== undefined && limit > 0 && entries >= limit * this.#threshold;
  }

  #baselineOf(row: ConntrackRow, nowMs: number): Baseline {
    let baseline = this.#baselines.get(row.id);
    if (baseline === undefined) {
      const isNew = this.#known !== undefined && !this.#known.has(row.id);
      baseline = {
        counted: isNew ? NO_FAILURES : countedBy(row),
        atMs: isNew ? this.#lookedMs : nowMs,
        reportedMs: Number.NEGATIVE_INFINITY,
      };
      this.#baselines.set(row.id, baseline);
    }
    return baseline;
  }
}

function countedBy({ counters }: ConntrackRow): Failures {
  return { insertFailed: counters.insertFailed ?? 0, drop: counters.drop ?? 0, earlyDrop: counters.earlyDrop ?? 0 };
}

/**
 * Returns the failures since an earlier reading. The kernel's per-CPU counters have 32 bits, so the sum decreases when
 * one of them wraps around.
 */
function since(before: Failures, row: ConntrackRow): Failures {
  const now = countedBy(row);
  const grown = (name: keyof Failures) => Math.max(0, now[name] - before[name]);
  return { insertFailed: grown('insertFailed'), drop: grown('drop'), earlyDrop: grown('earlyDrop') };
}

/** Describes the pressure for operators in one sentence. */
export function describePressure({ entries, limit, failures, seconds }: Pressure): string {
  const table =
    limit === undefined || limit === 0
      ? `${entries} connections`
      : `${entries} of at most ${limit} connections (${Math.floor((100 * entries) / limit)} %)`;
  const { insertFailed, drop, earlyDrop } = failures;
  if (insertFailed + drop + earlyDrop === 0) {
    return `The connection tracking table is nearly full: it holds ${table}. When it is full, packets of new connections will be dropped.`;
  }
  return `Connections could not be tracked: in the last ${seconds} s, ${insertFailed} could not be added to the table, ${drop} packets were dropped as a result, and ${earlyDrop} older connections were evicted to free space. The table holds ${table}.`;
}

function publish(scope: ProbeScope<typeof PRESSURE_EVENTS>, pressure: Pressure): void {
  const { netns, entries, limit, failures, seconds } = pressure;
  scope.publish('conntrack_pressure', {
    timeNs: BigInt(Date.now()) * NANOSECONDS_PER_MS,
    netns,
    fields: {
      entries,
      ...(limit === undefined ? {} : { limit }),
      insertFailed: failures.insertFailed,
      drops: failures.drop,
      earlyDrops: failures.earlyDrop,
      seconds,
    },
    message: describePressure(pressure),
  });
}

/** Checks for pressure immediately, and then repeatedly until the scope closes. */
export async function watchPressure(
  scope: ProbeScope<typeof PRESSURE_EVENTS>,
  { netns }: Sources,
  reader: ConntrackReader,
  threshold: number,
): Promise<void> {
  const watch = new PressureWatch(threshold);
  await watchRepeatedly(scope, {
    everyMs: LOOK_EVERY_MS,
    what: 'pressure',
    look: async (cycle) => {
      const snapshot = await reader.read(cycle);
      const known = new Set(netns.snapshot().map(({ id }) => id));
      const { pressures, limited } = watch.look(snapshot, known, performance.now());
      return { found: pressures, limited };
    },
    publish: (pressure) => publish(scope, pressure),
  });
}
