import type { BpfMap, BpfObject } from 'bpf-napi';
import type { FlowRole, RequestOutcome, RequestProtocol } from '#api/words.ts';
import {
  l7Protocol,
  requestKey,
  requestOutcome,
  requestRole,
  requestRow,
  requestWanted,
} from '#bpf/generated/common.ts';
import type { Layout } from '#bpf/generated/l7.ts';
import { bytesOf, nameOf, namesOf } from '#bpf/layout.ts';
import { formatIp } from '#core/address.ts';
import { addCounters, type Counter, subtractCounters } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { HostPods } from './host_pods.ts';
import type { Owners, Shares } from './owners.ts';
import { type EarlierPeerRows, PeerRows, type PeerRowsKind, type ShownPeerRow } from './peer_rows.ts';
import type { Retained } from './retained.ts';
import { Room } from './room.ts';

export const REQUEST_ROWS: Layout['map'] = 'request_rows';
const WANTED: Layout['map'] = 'request_wanted';
const TAKEN: Layout['map'] = 'request_taken';
const RETURNED: Layout['map'] = 'request_returned';
/** Program that makes the parsers stop counting in a row, before the row is deleted. */
export const REQUEST_LEAVE: Layout['program'] = 'request_leave';

/** Maps in which the parsers count requests by edge. */
export const REQUEST_MAPS = [REQUEST_ROWS, WANTED, TAKEN, RETURNED] as const;
/** Number of rows that are divided among the owners: 48 rows for each owner. */
export const REQUEST_ROWS_MAX = 65_536;
/** Maximum number of rest rows of a slot: one for each role and protocol. */
export const REQUEST_RESTS = 8;
/** Milliseconds without requests after which the row of an edge is freed for another edge. */
export const IDLE_MS = 60_000;

/** Upper bounds of the buckets in seconds. The first bound is 256 µs, and each further bound is four times as long. */
export const REQUEST_BUCKETS: readonly number[] = Array.from(
  { length: requestRow.durationsCount - 1 },
  (_, index) => (256 * 4 ** index) / 1e6,
);

/** Edge of a row. `peer` is `*` and `port` is undefined in a rest row. */
export interface RequestLabels {
  readonly role: FlowRole;
  readonly protocol: RequestProtocol;
  readonly peer: string;
  readonly port: number | undefined;
}

export interface RequestCounts {
  /** Requests that ended, by outcome, in the order of enum request_outcome. */
  readonly requests: readonly Counter[];
  /** Answered requests by duration, and the sum of their durations in nanoseconds. */
  readonly durations: readonly Counter[];
  readonly sumNs: Counter;
}

export type ShownRequests = ShownPeerRow<RequestLabels, RequestCounts>;
export type EarlierRequests = EarlierPeerRows<RequestLabels, RequestCounts>;

export const NO_REQUESTS: RequestCounts = {
  requests: new Array<Counter>(requestRow.requestsCount).fill(0),
  durations: new Array<Counter>(requestRow.durationsCount).fill(0),
  sumNs: 0,
};

const OUTCOMES = namesOf(requestOutcome);

const PROTOCOLS: Readonly<Record<number, RequestProtocol>> = {
  [l7Protocol.http1]: 'http1',
  [l7Protocol.http2]: 'http2',
  [l7Protocol.datagram_dns]: 'dns_udp',
  [l7Protocol.dns]: 'dns_tcp',
};

/** Returns the number of requests that ended, whatever their outcome. */
export function requestsOf({ requests }: RequestCounts): Counter {
  return requests.reduce(addCounters, 0);
}

export function outcomesOf({ requests }: RequestCounts): Record<RequestOutcome, Counter> {
  return Object.fromEntries(OUTCOMES.map((name, index) => [name, requests[index] ?? 0])) as Record<
    RequestOutcome,
    Counter
  >;
}

export const REQUEST_KIND: PeerRowsKind<RequestLabels, RequestCounts> = {
  map: REQUEST_ROWS,
  leave: REQUEST_LEAVE,
  nothing: NO_REQUESTS,
  labelsOf: (view, at, isRest) => ({
    role: nameOf(requestRole, requestKey.role(view, at)) ?? 'client',
    protocol: PROTOCOLS[requestKey.protocol(view, at)] ?? 'http1',
    peer: isRest ? '*' : formatIp(requestKey.peer(view, at)),
    port: isRest ? undefined : requestKey.port(view, at),
  }),
  countsOf: (view, at) => ({
    requests: NO_REQUESTS.requests.map((_, index) => requestRow.requests(view, at, index)),
    durations: NO_REQUESTS.durations.map((_, index) => requestRow.durations(view, at, index)),
    sumNs: requestRow.sum(view, at),
  }),
  minus: (a, b) => ({
    requests: a.requests.map((count, index) => subtractCounters(count, b.requests[index] ?? 0)),
    durations: a.durations.map((count, index) => subtractCounters(count, b.durations[index] ?? 0)),
    sumNs: subtractCounters(a.sumNs, b.sumNs),
  }),
  weightOf: requestsOf,
};

export interface RequestRowsOptions {
  readonly owners: Owners;
  readonly hostPods: HostPods;
  readonly earlier: Retained<EarlierRequests>;
  readonly shares: Shares;
  /** Milliseconds without requests after which a row ends. */
  readonly idleMs?: number;
}

/** Rows of requests by edge, in which all parsers count. */
export class RequestRows extends PeerRows<RequestLabels, RequestCounts> {
  readonly #room: Room;
  readonly #wanted: BpfMap;
  readonly #shares: Shares;

  constructor(object: BpfObject, { owners, hostPods, earlier, shares, idleMs = IDLE_MS }: RequestRowsOptions) {
    super(object, REQUEST_KIND, owners, earlier, { hostPods, idleMs });
    this.#room = new Room(object, REQUEST_ROWS, shares, owners, { taken: TAKEN, returned: RETURNED });
    this.#wanted = object.map(WANTED);
    this.#shares = shares;
  }

  /** Tells the parsers whether to count by edge. */
  want(isOn: boolean): void {
    const bytes = new Uint8Array(requestWanted.SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint32(requestWanted.offsets.isOn, Number(isOn), true);
    view.setUint32(requestWanted.offsets.ownerRows, this.#shares.ofOwner, true);
    view.setUint32(requestWanted.offsets.unlistedRows, this.#shares.ofUnlisted, true);
    this.#wanted.update(bytesOf(0), bytes);
  }

  /** Frees the rows of dead namespaces and idle rows. */
  sweepRows(isDead: (id: NetnsId) => boolean): void {
    this.#room.sweep(() => this.sweep(isDead));
  }

  /** Owners that have no free rows. */
  get degraded(): readonly string[] {
    return this.#room.degraded;
  }
}
