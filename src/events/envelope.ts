import type { Severity } from '#probe/event.ts';

/** Who is at the other end of a packet. */
export interface Peer {
  readonly kind: 'pod' | 'service' | 'node' | 'external';
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
}

/**
 * One event, as every sink and the API give it away: a flat JSON object. The fields of its type follow those that
 * all events have.
 */
export interface EventRecord {
  /** RFC 3339 with nanoseconds, from the kernel's clock. */
  readonly time: string;
  readonly probe: string;
  readonly type: string;
  readonly severity: Severity;
  readonly node: string;
  /** Cookie of the network namespace, in decimal; empty where it happened to the machine as a whole. */
  readonly netns: string;
  /** Null where the namespace is nobody's that we know. Both empty: the node itself. */
  readonly namespace: string | null;
  readonly pod: string | null;
  /** Configured Pod labels, where there are any. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Who is at the other end, where that is known. */
  readonly peer?: Peer;
  readonly src?: string;
  readonly dst?: string;
  readonly protocol?: string;
  readonly [field: string]: unknown;
  readonly message: string;
}

const NANOSECONDS_PER_SECOND = 1_000_000_000n;

/** Nanoseconds since the epoch as RFC 3339 in UTC. */
export function formatTimeNs(timeNs: bigint): string {
  const seconds = timeNs / NANOSECONDS_PER_SECOND;
  const fraction = timeNs % NANOSECONDS_PER_SECOND;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${whole}.${String(fraction).padStart(9, '0')}Z`;
}

const SECOND_DIGITS = 'yyyy-mm-ddThh:mm:ss'.length;

/** The time of an event in nanoseconds since the epoch, in decimal: more than a number can hold. */
export function timeNsOf({ time }: EventRecord): string {
  const seconds = Date.parse(`${time.slice(0, SECOND_DIGITS)}Z`) / 1_000;
  return `${seconds}${time.slice(SECOND_DIGITS + 1, -1)}`;
}
