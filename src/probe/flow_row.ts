import { flowEnd, flowField, flowRole, flowRow } from '#bpf/generated/common.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

export type FlowRole = keyof typeof flowRole;
export type FlowField = keyof typeof flowField;
export type FlowEnd = keyof typeof flowEnd;

export const FLOW_ROLES = Object.keys(flowRole) as FlowRole[];
export const FLOW_ENDS = Object.keys(flowEnd) as FlowEnd[];
/** First of the ends which mean that the connection was never established. */
export const FIRST_FAILURE = flowEnd.not_refused;

/** Causes for which a connection was not established, by the name that the BPF program uses. */
export const FAILURES = {
  not_refused: 'refused',
  not_timeout: 'timeout',
  not_unreachable: 'unreachable',
  not_given_up: 'given_up',
  not_no_port: 'no_port',
  not_other: 'other',
} as const satisfies Partial<Record<FlowEnd, string>>;

export type Failure = keyof typeof FAILURES;
export type FailureCause = (typeof FAILURES)[Failure];

export const FAILURE_CAUSES = ['refused', 'timeout', 'unreachable', 'given_up', 'no_port', 'other'] as const;

export const FAILURES_HELP =
  'Cause of the failure. refused: the other end sent a reset; timeout: no response came; unreachable: there is no neighbour, or a router refused; given_up: the application closed the socket first; no_port: no local port was free; other.';

export function isFailure(end: FlowEnd): end is Failure {
  return end in FAILURES;
}

const FIELDS = Object.keys(flowField).length;
const ENDS = Object.keys(flowEnd).length;
const ROUND_TRIPS = flowRow.roundTripsCount;

/**
 * Offsets of the parts of `FlowValues`: counts, ends, round-trip times by bucket, and the sum of round-trip times in
 * microseconds.
 */
const ENDS_AT = FIELDS;
const ROUND_TRIPS_AT = ENDS_AT + ENDS;
const ROUND_TRIP_SUM_AT = ROUND_TRIPS_AT + ROUND_TRIPS;
const VALUES = ROUND_TRIP_SUM_AT + 1;

/** Values of one of the kernel's rows at one moment. */
export type FlowValues = Float64Array;

export function newValues(): FlowValues {
  return new Float64Array(VALUES);
}

/** Reads a u64 as a number. Values up to 2^53 are exact. */
function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/**
 * Reads a struct flow_row.
 * @param isWalked whether the last walk found open sockets of the row
 */
export function readValues(target: FlowValues, view: DataView, at: number, isWalked: boolean): void {
  const { closed, now, ends, roundTripSum } = flowRow.offsets;
  const counts = at + (isWalked ? now : closed);
  for (let field = 0; field < FIELDS; field++) target[field] = readU64(view, counts + 8 * field);
  for (let end = 0; end < ENDS; end++) target[ENDS_AT + end] = readU64(view, at + ends + 8 * end);
  for (let bucket = 0; bucket < ROUND_TRIPS; bucket++) {
    target[ROUND_TRIPS_AT + bucket] = flowRow.roundTrips(view, at, bucket);
  }
  target[ROUND_TRIP_SUM_AT] = readU64(view, at + roundTripSum);
}

/** Identifies the sockets that share a row. */
export interface FlowPlace {
  readonly netns: NetnsId;
  /** Cgroup ID of the sockets if they are in the node's namespace; otherwise 0. */
  readonly cgroup: Counter;
  readonly role: FlowRole;
  /** Address of the other end; `*` for connections without a row of their own. */
  readonly peer: string;
  /** Port of the server; undefined for connections without a row of their own. */
  readonly port: number | undefined;
}

/** One row of TCP traffic: the sockets of a namespace with the same role, peer and port. Its totals never decrease. */
export class FlowRow {
  /** Unique number of the row. If a row with the same key reappears, it gets a new number. */
  readonly serial: number;
  readonly place: FlowPlace;
  /** Values to subtract from those of the kernel's row. */
  readonly base = newValues();
  readonly #values = newValues();
  /** Number of open sockets at the last walk. */
  open = 0;
  /** Number of consecutive updates without growth. */
  idle = 0;
  /** True if the kernel's row was deleted, so that the current values are the last ones. */
  isLast = false;

  constructor(serial: number, place: FlowPlace) {
    this.serial = serial;
    this.place = place;
  }

  /**
   * Updates the totals from the kernel's values. Ignores values that are smaller than before, because they are
   * incomplete.
   * @returns whether any total has grown
   */
  take(values: FlowValues): boolean {
    let isGrown = false;
    for (let index = 0; index < VALUES; index++) {
      const value = (values[index] as number) - (this.base[index] as number);
      if (value <= (this.#values[index] as number)) continue;
      this.#values[index] = value;
      isGrown = true;
    }
    return isGrown;
  }

  /** Returns whether any total would decrease. */
  wouldFall(values: FlowValues): boolean {
    return this.#values.some((value, index) => (values[index] as number) - (this.base[index] as number) < value);
  }

  /** Makes the totals continue from their current values, regardless of the values in the kernel's row. */
  rebase(values: FlowValues): void {
    for (let index = 0; index < VALUES; index++)
      this.base[index] = (values[index] as number) - (this.#values[index] as number);
  }

  /** Keeps values in this row although the kernel now counts them in another row. */
  keep(values: FlowValues): void {
    for (let index = 0; index < VALUES; index++)
      this.base[index] = (this.base[index] as number) - (values[index] as number);
  }

  count(field: FlowField): number {
    return this.#values[flowField[field]] as number;
  }

  ended(end: FlowEnd): number {
    return this.#values[ENDS_AT + flowEnd[end]] as number;
  }

  /**
   * Number of measured round-trip times by bucket. The upper bound of bucket i is 64 µs * 4^i; the last bucket has
   * none.
   */
  get roundTrips(): readonly number[] {
    return [...this.#values.subarray(ROUND_TRIPS_AT, ROUND_TRIP_SUM_AT)];
  }

  /** Sum of the measured round-trip times in microseconds. */
  get roundTripSum(): number {
    return this.#values[ROUND_TRIP_SUM_AT] as number;
  }
}
