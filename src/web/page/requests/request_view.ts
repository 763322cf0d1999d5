import { edgeKey } from '#api/flow_rates.ts';
import type { RequestSummary } from '#api/flows.ts';
import { durationQuantile, failedRequests, type RequestCounts } from '#api/request_rates.ts';
import { joinEndpoint } from '#core/address.ts';
import { namesText } from '#core/dns_names.ts';
import type { FlowHistory } from '../flows/history.ts';
import { lineOf } from '../flows/measures.ts';
import { type Measure, requestTroublesOf, type Verdict, worstOf } from '../flows/verdict.ts';
import { entityName } from '../format.ts';
import type { SparkPoint } from '../line.ts';

const PROTOCOLS: Readonly<Record<string, string>> = {
  http1: 'HTTP/1',
  http2: 'HTTP/2',
  dns_udp: 'DNS',
  dns_tcp: 'DNS over TCP',
};

export function protocolText(protocol: string): string {
  return PROTOCOLS[protocol] ?? protocol;
}

export function isDns(protocol: string): boolean {
  return protocol.startsWith('dns');
}

/** Returns a string that identifies the requests of an edge. */
export function requestKey(edge: RequestSummary): string {
  return `${edge.protocol} ${edgeKey(edge)}`;
}

/** Averages of an edge. A value is null if it is unknown, or if there were no requests. */
export interface RequestValues {
  readonly rate: number | null;
  readonly failed: number | null;
  readonly declined: number | null;
  readonly p50: number | null;
  readonly p99: number | null;
}

const UNKNOWN: RequestValues = { rate: null, failed: null, declined: null, p50: null, p99: null };

/** @param seconds duration of the period in which the counts grew */
export function valuesOf(counts: RequestCounts | undefined, seconds: number): RequestValues {
  if (counts === undefined || seconds === 0) return UNKNOWN;
  const { requests, declined } = counts;
  return {
    rate: requests / seconds,
    failed: failedRequests(counts),
    declined: requests === 0 ? null : declined / requests,
    p50: durationQuantile(counts, 0.5),
    p99: durationQuantile(counts, 0.99),
  };
}

/** Requests of an edge with their numbers over the last minute. A new object is created for each reading. */
export class RequestView {
  readonly id: string;
  readonly edge: RequestSummary;
  /** Names of the client and the server. */
  readonly from: string;
  readonly to: string;
  /** Growth within the last minute; undefined if it is unknown. */
  readonly counts: RequestCounts | undefined;
  readonly seconds: number;
  readonly values: RequestValues;
  readonly troubles: readonly Verdict[];
  readonly verdict: Verdict | undefined;
  readonly #history: FlowHistory;
  readonly #lines = new Map<Measure, readonly SparkPoint[]>();

  constructor(edge: RequestSummary, history: FlowHistory) {
    this.id = requestKey(edge);
    this.edge = edge;
    const [own, peer] = [entityName(edge), peerName(edge)];
    const port = edge.port ?? undefined;
    this.from = edge.role === 'server' ? peer : own;
    this.to = edge.role === 'server' ? joinEndpoint(own, port) : joinEndpoint(peer, port);
    const sum = history.sum(this.id);
    this.counts = sum?.counts.requests;
    this.seconds = sum?.seconds ?? 0;
    this.values = valuesOf(this.counts, this.seconds);
    this.troubles = this.counts === undefined ? [] : requestTroublesOf(this.counts, isDns(edge.protocol));
    this.verdict = worstOf(this.troubles);
    this.#history = history;
  }

  get name(): string {
    return `${this.from} → ${this.to}`;
  }

  /** Measure that the sparkline shows: that of the worst problem, or the rate if there is no problem. */
  get measure(): Measure {
    return this.verdict?.measure ?? 'requests';
  }

  /** Returns the values of the last five minutes. Each call with the same measure returns the same array. */
  line(measure: Measure): readonly SparkPoint[] {
    let line = this.#lines.get(measure);
    if (line === undefined) {
      line = lineOf(this.#history.points(this.id), measure, this.#history.endMs ?? 0);
      this.#lines.set(measure, line);
    }
    return line;
  }
}

/** Returns the name of the peer, or its address if it has none. */
export function peerName({ peer, peerKind, peerNamespace, peerName: name, dnsNames }: RequestSummary): string {
  if (peerKind === 'self') return 'itself';
  if (dnsNames.length > 0) return namesText(dnsNames);
  return name === '' ? peer : [peerNamespace, name].filter((part) => part !== '').join('/');
}
