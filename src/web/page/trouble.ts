import type { Trouble, TroubleRow } from '#api/trouble.ts';
import {
  CONNTRACK,
  FAILED_CONNECTS,
  FAILED_CONNECTS_LEAST,
  type Limit,
  LOSS,
  RESETS,
  RETRANSMITS_LEAST,
  RETRANSMITTED,
} from '#core/limits.ts';
import { HISTORY_MS } from './flows/history.ts';
import { entityName } from './format.ts';
import type { SparkPoint } from './line.ts';

/** Period over which rates are averaged. */
const WINDOW_MS = 60_000;
/**
 * Maximum interval between two readings. A longer interval means that the page was hidden, and the rates would be
 * outdated.
 */
const GAP_MS = 90_000;
const MS_PER_SECOND = 1_000;

/** Numbers for entities, either over the last minute or between two readings. */
export interface Numbers {
  readonly trouble: Trouble | undefined;
  /** Rate per second; null if the metric is missing or was read only once. */
  rate(netns: string, metric: string): number | null;
  /** Value at the end of the period. */
  value(row: TroubleRow, metric: string): number | null;
}

/** Growth between two readings. */
class Step implements Numbers {
  readonly startMs: number;
  readonly endMs: number;
  readonly trouble: Trouble;
  readonly #rows: ReadonlyMap<string, TroubleRow>;
  /** Increases by namespace and metric; null if the value is unknown at either end of the step. */
  readonly #increases: ReadonlyMap<string, readonly (number | null)[]>;

  constructor(earlier: Trouble, later: Trouble) {
    this.startMs = Date.parse(earlier.collected);
    this.endMs = Date.parse(later.collected);
    this.trouble = later;
    this.#rows = new Map(later.entities.map((row) => [row.netns, row]));
    const before = new Map(earlier.entities.map((row) => [row.netns, row]));
    this.#increases = new Map(
      later.entities.map(({ netns, values }) => [
        netns,
        values.map((value, at) => increase(before.get(netns)?.values[at], value)),
      ]),
    );
  }

  get seconds(): number {
    return (this.endMs - this.startMs) / MS_PER_SECOND;
  }

  /** Increase; null if it is unknown. */
  grown(netns: string, metric: string): number | null {
    return this.#increases.get(netns)?.[this.trouble.metrics.indexOf(metric)] ?? null;
  }

  rate(netns: string, metric: string): number | null {
    const grown = this.grown(netns, metric);
    return grown === null ? null : grown / this.seconds;
  }

  value({ netns }: TroubleRow, metric: string): number | null {
    return this.#rows.get(netns)?.values[this.trouble.metrics.indexOf(metric)] ?? null;
  }
}

/** Computes the growth rate of each entity's counters over the last minute, or since the page became visible. */
export class Rates implements Numbers {
  #last: Trouble | undefined;
  #steps: readonly Step[] = [];
  readonly #lines = new Map<string, readonly SparkPoint[]>();

  add(trouble: Trouble): void {
    const last = this.#last;
    if (last?.collected === trouble.collected) return;
    this.#last = trouble;
    this.#lines.clear();
    if (last === undefined) return;
    const step = new Step(last, trouble);
    const ms = step.endMs - step.startMs;
    const kept = ms < 0 ? [] : this.#steps.filter(({ endMs }) => endMs > step.endMs - HISTORY_MS);
    this.#steps = ms <= 0 || ms > GAP_MS ? kept : [...kept, step];
  }

  get trouble(): Trouble | undefined {
    return this.#last;
  }

  /** Duration of the period that the rates cover, in seconds; 0 if there are no rates yet. */
  get seconds(): number {
    return this.#window.reduce((sum, step) => sum + step.seconds, 0);
  }

  rate(netns: string, metric: string): number | null {
    let sum = 0;
    let seconds = 0;
    for (const step of this.#window) {
      const grown = step.grown(netns, metric);
      if (grown === null) continue;
      sum += grown;
      seconds += step.seconds;
    }
    return seconds === 0 ? null : sum / seconds;
  }

  value({ values }: TroubleRow, metric: string): number | null {
    return values[this.#last?.metrics.indexOf(metric) ?? -1] ?? null;
  }

  /**
   * Returns the values of a column in the last five minutes. Calls with the same arguments return the same array until
   * the next reading.
   */
  line(row: TroubleRow, { key, read }: Column): readonly SparkPoint[] {
    const id = `${row.netns} ${key}`;
    const lastMs = this.#endMs;
    const line =
      this.#lines.get(id) ??
      this.#steps.map((step, index) => ({
        at: 1 - (lastMs - step.endMs) / HISTORY_MS,
        value: read(step, row),
        isAfterGap: index > 0 && this.#steps[index - 1]?.endMs !== step.startMs,
      }));
    this.#lines.set(id, line);
    return line;
  }

  get #endMs(): number {
    return this.#last === undefined ? 0 : Date.parse(this.#last.collected);
  }

  /** Steps of the last minute after the last gap. */
  get #window(): readonly Step[] {
    const endMs = this.#endMs;
    const recent = this.#steps.filter((step) => step.endMs > endMs - WINDOW_MS);
    const gap = recent.findLastIndex((step, index) => step.endMs !== (recent[index + 1]?.startMs ?? endMs));
    return recent.slice(gap + 1);
  }
}

/**
 * Returns the increase of a counter. A decrease means that the counter was reset, so the whole current value counts as
 * an increase.
 */
function increase(before: number | null | undefined, now: number | null): number | null {
  if (before === null || before === undefined || now === null) return null;
  return now >= before ? now - before : now;
}

/** Limits for rare problems. A few occurrences per minute are enough for a notice, as on the dashboards. */
const ANY: Limit = { notice: 1 / 60, alert: 1 };

export interface Column {
  readonly key: string;
  readonly title: string;
  readonly help: string;
  readonly unit: 'rate' | 'share';
  readonly limit: Limit;
  readonly read: (rates: Numbers, row: TroubleRow) => number | null;
}

const rateOf =
  (metric: string): Column['read'] =>
  (rates, { netns }) =>
    rates.rate(netns, metric);

/**
 * Returns the ratio of a rate to the sum of other rates. Returns 0 if the first rate is less than `least` per second,
 * because the ratio would be meaningless.
 */
const shareOf =
  (part: string, whole: readonly string[], least: number): Column['read'] =>
  (rates, { netns }) => {
    const parts = rates.rate(netns, part);
    const all = whole.map((metric) => rates.rate(netns, metric));
    if (parts === null || all.includes(null)) return null;
    const sum = all.reduce<number>((total, value) => total + (value ?? 0), 0);
    return parts < least || sum === 0 ? 0 : Math.min(1, parts / sum);
  };

const FIRST_COLUMN: Column = {
  key: 'drops',
  title: 'Drops/s',
  help: 'Packets that the kernel dropped.',
  unit: 'rate',
  limit: LOSS,
  read: rateOf('netsonde_packet_drops_total'),
};

export const COLUMNS: readonly Column[] = [
  FIRST_COLUMN,
  {
    key: 'resets',
    title: 'Resets/s',
    help: 'TCP resets, sent and received.',
    unit: 'rate',
    limit: RESETS,
    read: rateOf('netsonde_tcp_resets_total'),
  },
  {
    key: 'retransmitted',
    title: 'Retransmitted',
    help: `Percentage of TCP segments that were retransmitted. Needs at least ${RETRANSMITS_LEAST} segments per second.`,
    unit: 'share',
    limit: RETRANSMITTED,
    read: shareOf('netsonde_tcp_retransmitted_segments_total', ['netsonde_tcp_sent_segments_total'], RETRANSMITS_LEAST),
  },
  {
    key: 'failed',
    title: 'Failed connects',
    help: `Percentage of TCP connection attempts that failed. Needs at least ${FAILED_CONNECTS_LEAST} attempts per second.`,
    unit: 'share',
    limit: FAILED_CONNECTS,
    read: shareOf(
      'netsonde_tcp_attempt_fails_total',
      ['netsonde_tcp_active_opens_total', 'netsonde_tcp_passive_opens_total'],
      FAILED_CONNECTS_LEAST,
    ),
  },
  {
    key: 'overflows',
    title: 'Accept queue full/s',
    help: 'Connections dropped because the accept queue of the server was full.',
    unit: 'rate',
    limit: ANY,
    read: rateOf('netsonde_tcp_listen_overflows_total'),
  },
  {
    key: 'buffer',
    title: 'UDP buffer full/s',
    help: 'UDP datagrams dropped because the receive buffer of the socket was full.',
    unit: 'rate',
    limit: ANY,
    read: rateOf('netsonde_udp_receive_buffer_errors_total'),
  },
  {
    key: 'conntrack',
    title: 'Conntrack',
    help: 'Current fill level of the connection tracking table.',
    unit: 'share',
    limit: CONNTRACK,
    read: (rates, row) => {
      const node = rates.trouble?.entities.find(({ kind }) => kind === 'node');
      const most = node === undefined ? null : rates.value(node, 'netsonde_conntrack_entries_limit');
      const entries = rates.value(row, 'netsonde_conntrack_entries');
      return most === null || entries === null || most === 0 ? null : entries / most;
    },
  },
];

export type Grade = 'none' | 'ok' | 'notice' | 'alert';

export function gradeOf(value: number | null, { notice, alert }: Limit): Grade {
  if (value === null || value === 0) return 'none';
  if (value >= alert) return 'alert';
  return value >= notice ? 'notice' : 'ok';
}

export interface TroubleView {
  readonly row: TroubleRow;
  readonly name: string;
  /** Values by column. */
  readonly values: readonly (number | null)[];
  /** Ratio of the worst value to its threshold. A score of 1 or more means that the threshold is exceeded. */
  readonly score: number;
  /** Column with the worst value. */
  readonly worst: Column;
}

/** @param by key of the column to sort by; if it names no column, the worst rows come first */
export function viewsOf(rates: Rates, search: string, by: string): TroubleView[] {
  const wanted = search.trim().toLowerCase();
  const at = COLUMNS.findIndex(({ key }) => key === by);
  const views = (rates.trouble?.entities ?? [])
    .map((row) => {
      const values = COLUMNS.map((column) => column.read(rates, row));
      const scores = COLUMNS.map(({ limit }, index) => (values[index] ?? 0) / limit.notice);
      const score = Math.max(...scores);
      const worst = COLUMNS[scores.indexOf(score)] ?? FIRST_COLUMN;
      return { row, name: entityName(row), values, score, worst };
    })
    .filter(({ name }) => name.toLowerCase().includes(wanted));
  const weight = ({ values, score }: TroubleView) => (at < 0 ? score : (values[at] ?? -1));
  return views.sort((a, b) => weight(b) - weight(a) || (a.name < b.name ? -1 : 1));
}
