import { type EdgeCounts, edgeKey, roundTripOf } from '#api/flow_rates.ts';
import type { EdgeSummary } from '#api/flows.ts';
import { joinEndpoint } from '#core/address.ts';
import { namesText } from '#core/dns_names.ts';
import { entityName } from '../format.ts';
import type { SparkPoint } from '../line.ts';
import type { FlowHistory, Point } from './history.ts';
import { lineOf } from './measures.ts';
import { failedShare, isFarAddress, lostShare, type Measure, troublesOf, type Verdict, worstOf } from './verdict.ts';

/** Averages of an edge. A value is null if it is unknown, or if it is a ratio whose denominator is 0. */
export interface EdgeNumbers {
  readonly bytes: number | null;
  readonly connects: number | null;
  readonly failed: number | null;
  readonly retransmitted: number | null;
  readonly roundTrip: number | null;
}

const UNKNOWN: EdgeNumbers = { bytes: null, connects: null, failed: null, retransmitted: null, roundTrip: null };

/** @param seconds duration of the period in which the counts grew */
export function numbersOf(counts: EdgeCounts | undefined, seconds: number): EdgeNumbers {
  if (counts === undefined || seconds === 0) return UNKNOWN;
  return {
    bytes: counts.bytes / seconds,
    connects: counts.connections / seconds,
    failed: failedShare(counts),
    retransmitted: lostShare(counts),
    roundTrip: roundTripOf(counts),
  };
}

/** An edge with its numbers over the last minute. A new object is created for each reading. */
export class EdgeView {
  readonly id: string;
  readonly edge: EdgeSummary;
  /** Names of the client and the server. */
  readonly from: string;
  readonly to: string;
  /** Growth within the last minute; undefined if it is unknown. */
  readonly counts: EdgeCounts | undefined;
  readonly seconds: number;
  readonly numbers: EdgeNumbers;
  readonly troubles: readonly Verdict[];
  readonly verdict: Verdict | undefined;
  readonly #history: FlowHistory;
  #points: readonly Point[] | undefined;
  readonly #lines = new Map<Measure, readonly SparkPoint[]>();

  constructor(edge: EdgeSummary, history: FlowHistory) {
    this.id = edgeKey(edge);
    this.edge = edge;
    const [own, peer] = [entityName(edge), edge.peer];
    const port = edge.port ?? undefined;
    const name = ownerOf(edge);
    this.from = edge.role === 'server' ? `${peer}${name}` : own;
    this.to = edge.role === 'server' ? joinEndpoint(own, port) : `${joinEndpoint(peer, port)}${name}`;
    const sum = history.sum(this.id);
    this.counts = sum?.counts;
    this.seconds = sum?.seconds ?? 0;
    this.numbers = numbersOf(this.counts, this.seconds);
    this.troubles = this.counts === undefined ? [] : troublesOf(this.counts, edge.open, isFarAddress(peer));
    this.verdict = worstOf(this.troubles);
    this.#history = history;
  }

  get name(): string {
    return `${this.from} → ${this.to}`;
  }

  /** Measure that the sparkline shows: that of the worst problem, or the bytes if there is no problem. */
  get measure(): Measure {
    return this.verdict?.measure ?? 'bytes';
  }

  /** Returns the values of the last five minutes. Each call with the same measure returns the same array. */
  line(measure: Measure): readonly SparkPoint[] {
    let line = this.#lines.get(measure);
    if (line === undefined) {
      this.#points ??= this.#history.points(this.id);
      line = lineOf(this.#points, measure, this.#history.endMs ?? 0);
      this.#lines.set(measure, line);
    }
    return line;
  }
}

/** Returns the name of the peer in parentheses; an empty string if it has none. */
function ownerOf({ dnsNames, peerNamespace, peerName }: EdgeSummary): string {
  const names = dnsNames.length > 0 ? namesText(dnsNames) : [peerNamespace, peerName].filter(Boolean).join('/');
  return names === '' ? '' : ` (${names})`;
}
