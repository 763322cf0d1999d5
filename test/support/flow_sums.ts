/** Lower and upper limit of a number whose exact value may be unknown. They are equal when no traffic is running. */
export type Range = readonly [min: number, max: number];

/** Sums of one edge, as counted by the two applications. */
export interface FlowRow {
  /** Name of the network namespace. */
  readonly netns: string;
  readonly role: 'client' | 'server';
  readonly peer: string;
  readonly port: number;
  /** Payload bytes that were sent. */
  readonly sent: Range;
  readonly received: Range;
  /** Established connections. */
  readonly connections: Range;
  /** Open connections. The maximum includes connections that are closed in one direction. */
  readonly open: Range;
  readonly failed: Readonly<Record<string, number>>;
  readonly ends: Readonly<Record<string, number>>;
}

/** Sums of a generator at one point in time. */
export interface FlowSums {
  readonly rows: readonly FlowRow[];
  /** Increases of the kernel's counters, by namespace and nstat name. */
  readonly counters: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** SYNs that were dropped because an accept queue was full, by namespace and port. */
  readonly listenDrops: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export const RANGES = ['sent', 'received', 'connections', 'open'] as const;

export function keyOf({ netns, role, peer, port }: Pick<FlowRow, 'netns' | 'role' | 'peer' | 'port'>): string {
  return `${netns} ${role} ${peer} ${port}`;
}

/** Adds the sums of several generators. */
export function mergeSums(parts: readonly FlowSums[]): FlowSums {
  const rows = new Map<string, FlowRow>();
  for (const row of parts.flatMap((part) => part.rows)) {
    const key = keyOf(row);
    const before = rows.get(key);
    rows.set(key, before === undefined ? row : addRows(before, row));
  }
  return {
    rows: [...rows.values()],
    counters: addNested(parts.map(({ counters }) => counters)),
    listenDrops: addNested(parts.map(({ listenDrops }) => listenDrops)),
  };
}

function addRows(a: FlowRow, b: FlowRow): FlowRow {
  const ranges = Object.fromEntries(RANGES.map((name) => [name, [a[name][0] + b[name][0], a[name][1] + b[name][1]]]));
  return {
    ...a,
    ...(ranges as unknown as Pick<FlowRow, (typeof RANGES)[number]>),
    failed: addCounts([a.failed, b.failed]),
    ends: addCounts([a.ends, b.ends]),
  };
}

function addCounts(parts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const part of parts) for (const [name, count] of Object.entries(part)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}

function addNested(parts: readonly FlowSums['counters'][]): Record<string, Record<string, number>> {
  const names = new Set(parts.flatMap((part) => Object.keys(part)));
  return Object.fromEntries([...names].map((name) => [name, addCounts(parts.map((part) => part[name] ?? {}))]));
}
