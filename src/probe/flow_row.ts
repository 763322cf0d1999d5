import { flowEnd, flowField, flowRole, flowRow } from '#bpf/generated/common.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { PeerIdentity } from './peer_identity.ts';
import type { Translation } from './translation.ts';

export type FlowRole = keyof typeof flowRole;
export type FlowField = keyof typeof flowField;
export type FlowEnd = keyof typeof flowEnd;

export const FLOW_ROLES = Object.keys(flowRole) as FlowRole[];
export const FLOW_ENDS = Object.keys(flowEnd) as FlowEnd[];
/** First of the ends that mean that the connection was never established. */
export const FIRST_FAILURE = flowEnd.not_refused;

/** Reasons why a connection was not established, by the name that the BPF program uses. */
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
  'Cause of the failure. refused: the other end sent a reset; timeout: there was no response; unreachable: the next hop did not respond, or a router rejected the packet; given_up: the application closed the socket first; no_port: no local port was free; other: any other cause.';

export function isFailure(end: FlowEnd): end is Failure {
  return end in FAILURES;
}

const FIELDS = Object.keys(flowField).length;
const ENDS = Object.keys(flowEnd).length;
const ROUND_TRIPS = flowRow.roundTripsCount;

/**
 * Offsets of the parts of `FlowValues`: counts, ends, round-trip times by bucket, and the sum of the round-trip times
 * in microseconds.
 */
const ENDS_AT = FIELDS;
const ROUND_TRIPS_AT = ENDS_AT + ENDS;
const ROUND_TRIP_SUM_AT = ROUND_TRIPS_AT + ROUND_TRIPS;
const VALUES = ROUND_TRIP_SUM_AT + 1;

/** Values of one row in the kernel at one moment. */
export type FlowValues = Float64Array;

export function newValues(): FlowValues {
  return new Float64Array(VALUES);
}

/** Reads a u64 as a number. Values up to 2^53 are read exactly. */
function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/**
 * Reads a struct flow_row.
 * @param isWalked whether the last walk found open sockets that belong to the row
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
  /** Address of the other end; `*` for a rest row. */
  readonly peer: string;
  /** Port of the server; undefined for a rest row. */
  readonly port: number | undefined;
}

/**
 * Totals of TCP traffic: of the sockets in a namespace with the same role, peer and port, for as long as the peer has
 * the same identity. The totals never decrease.
 */
export class FlowRow {
  /** Unique number of the row. A row that reappears with the same key gets a new number. */
  readonly serial: number;
  /** Identifies the row in the kernel: the text of its key, or the index of a rest row. */
  readonly key: string | number;
  readonly place: FlowPlace;
  /** Entity under which the totals are shown; undefined until they are shown. */
  subject: NetnsId | undefined;
  /** Whether nothing shows the totals any more, because their entity is no longer on the page. */
  isAbandoned = false;
  /** Identity of the peer for all counts of the row; undefined until a collection has determined it. */
  identity: PeerIdentity | undefined;
  /** Knowledge about the real end of the connections; undefined if they are not logged. */
  translation: Translation | undefined;
  /** Whether the kernel logs the connections. */
  isWatched = false;
  /** Values that are subtracted from those of the row in the kernel. */
  readonly base = newValues();
  readonly #values = newValues();
  /** Number of consecutive updates in which no total has increased. */
  idle = 0;
  /** When a total last increased or sockets were last open, in milliseconds of the table's clock. */
  activeMs = 0;
  /** Whether the row in the kernel was deleted, so that the current values are final. */
  isLast = false;
  /** Number that is incremented whenever a value changes. */
  version = 0;
  /** Index of the row in the last dump that contained it. */
  at = -1;
  /** Number of the update with that dump. */
  taken = 0;
  #open = 0;

  constructor(serial: number, key: string | number, place: FlowPlace) {
    this.serial = serial;
    this.key = key;
    this.place = place;
  }

  /**
   * Updates the totals from the values in the kernel. Values that are smaller than before are incomplete, and are
   * ignored.
   * @returns whether any total has increased
   */
  take(values: FlowValues): boolean {
    let isGrown = false;
    for (let index = 0; index < VALUES; index++) {
      const value = (values[index] as number) - (this.base[index] as number);
      if (value <= (this.#values[index] as number)) continue;
      this.#values[index] = value;
      isGrown = true;
    }
    if (isGrown) this.version++;
    return isGrown;
  }

  /** Number of open sockets that the last walk found. */
  get open(): number {
    return this.#open;
  }

  set open(open: number) {
    if (open !== this.#open) this.version++;
    this.#open = open;
  }

  /** Returns whether any total would increase. */
  wouldGrow(values: FlowValues): boolean {
    return this.#values.some((value, index) => (values[index] as number) - (this.base[index] as number) > value);
  }

  /** Returns whether any total would decrease. */
  wouldFall(values: FlowValues): boolean {
    return this.#values.some((value, index) => (values[index] as number) - (this.base[index] as number) < value);
  }

  /**
   * Attributes an increase of this row to another row, up to the amount by which the total of the other row exceeds its
   * value in the kernel. Those sockets have moved to this row, but were already counted in the other one.
   * @param values values of this row, which have not been passed to `take` yet
   * @param others values of the other row
   */
  cede(values: FlowValues, other: FlowRow, others: FlowValues): void {
    for (let index = 0; index < VALUES; index++) {
      const grown = (values[index] as number) - (this.base[index] as number) - (this.#values[index] as number);
      const now = (others[index] as number) - (other.base[index] as number);
      const moved = Math.min(grown, (other.#values[index] as number) - now);
      if (moved <= 0) continue;
      this.base[index] = (this.base[index] as number) + moved;
      other.base[index] = (other.base[index] as number) - moved;
    }
  }

  /** Lets the totals continue from their current values, regardless of the current values in the kernel. */
  rebase(values: FlowValues): void {
    for (let index = 0; index < VALUES; index++)
      this.base[index] = (values[index] as number) - (this.#values[index] as number);
  }

  /** Starts at zero as the successor of an earlier row of the same sockets. */
  follow(earlier: FlowRow): void {
    this.translation = earlier.translation;
    this.isWatched = earlier.isWatched;
    this.continueFrom(earlier);
  }

  /** Starts at zero from the point at which an earlier row of the same sockets stopped counting. */
  continueFrom(earlier: FlowRow): void {
    for (let index = 0; index < VALUES; index++)
      this.base[index] = (earlier.base[index] as number) + (earlier.#values[index] as number);
  }

  /** Adds values to this row permanently, although the kernel now counts them in another row. */
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
   * Numbers of measured round-trip times by bucket. The upper bound of bucket i is 64 µs * 4^i; the last bucket has
   * none. The array is a view, and changes together with the row.
   */
  get roundTrips(): Float64Array {
    return this.#values.subarray(ROUND_TRIPS_AT, ROUND_TRIP_SUM_AT);
  }

  /** Sum of the measured round-trip times in microseconds. */
  get roundTripSum(): number {
    return this.#values[ROUND_TRIP_SUM_AT] as number;
  }
}
