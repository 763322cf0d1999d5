import { flowEnd, flowField, flowRole, flowRow } from '#bpf/generated/common.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';

export type FlowRole = keyof typeof flowRole;
export type FlowField = keyof typeof flowField;
export type FlowEnd = keyof typeof flowEnd;

export const FLOW_ROLES = Object.keys(flowRole) as FlowRole[];
export const FLOW_ENDS = Object.keys(flowEnd) as FlowEnd[];
/** First of the ends that are causes of connections which were not established. */
export const FIRST_FAILURE = flowEnd.not_refused;

/** Causes of connections that were not established, by the program's names. */
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

/** Where the values of a row begin: counts, ends, round-trip times by bucket, and their sum in microseconds. */
const ENDS_AT = FIELDS;
const ROUND_TRIPS_AT = ENDS_AT + ENDS;
const ROUND_TRIP_SUM_AT = ROUND_TRIPS_AT + ROUND_TRIPS;
const VALUES = ROUND_TRIP_SUM_AT + 1;

/** Values of one row of the kernel at one moment. */
export type FlowValues = Float64Array;

export function newValues(): FlowValues {
  return new Float64Array(VALUES);
}

/** Reads a u64 as a number: exact up to 9 PB. */
function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/**
 * Reads a struct flow_row.
 * @param isWalked whether the last walk has met open sockets of the row
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

/** Sockets that share a row. */
export interface FlowPlace {
  readonly netns: NetnsId;
  /** ID of the control group of the sockets, if the namespace is the node's; otherwise 0. */
  readonly cgroup: Counter;
  readonly role: FlowRole;
  /** Address of the other end; `*` for connections without a row of their own. */
  readonly peer: string;
  /** Port of the server; undefined for connections without a row of their own. */
  readonly port: number | undefined;
}

/** One row of TCP traffic: the sockets of a namespace with the same role, peer and port. Its totals never fall. */
export class FlowRow {
  /** Number that no other row ever has: a row that comes back is another row. */
  readonly serial: number;
  readonly place: FlowPlace;
  /** Values of the kernel's row that are not shown here. */
  readonly base = newValues();
  readonly #values = newValues();
  /** Number of open sockets at the last walk. */
  open = 0;
  /** Number of takes in a row without a change. */
  idle = 0;
  /** Whether the row ends with these values. */
  isLast = false;

  constructor(serial: number, place: FlowPlace) {
    this.serial = serial;
    this.place = place;
  }

  /**
   * Takes values of the kernel. A smaller one than before is incomplete, and not taken.
   * @returns whether one has grown
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

  /** Returns whether a value would be smaller than before. */
  wouldFall(values: FlowValues): boolean {
    return this.#values.some((value, index) => (values[index] as number) - (this.base[index] as number) < value);
  }

  /** Goes on from the values shown now, whatever the kernel's row has. */
  rebase(values: FlowValues): void {
    for (let index = 0; index < VALUES; index++)
      this.base[index] = (values[index] as number) - (this.#values[index] as number);
  }

  /** Lets this row show values that another one no longer has. */
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

  /** Measured round-trip times, by bucket: bucket i has those of up to 64 µs * 4^i, the last bucket all longer ones. */
  get roundTrips(): readonly number[] {
    return [...this.#values.subarray(ROUND_TRIPS_AT, ROUND_TRIP_SUM_AT)];
  }

  /** Sum of the measured round-trip times in microseconds. */
  get roundTripSum(): number {
    return this.#values[ROUND_TRIP_SUM_AT] as number;
  }
}
