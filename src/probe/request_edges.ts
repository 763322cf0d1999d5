import type { RequestProtocol } from '#api/words.ts';
import { addCounters } from '#core/counter.ts';
import type { ProbeContext } from './contract.ts';
import { EDGES_MAX, edgeLabels, edgeLabelsOf, type SharedNaming } from './edge_labels.ts';
import { isForgotten } from './fate.ts';
import type { EdgePlace, ReadConnections, RequestEdges, RequestTotals } from './flow_edges.ts';
import type { L7User } from './l7_use.ts';
import { defineMetrics, type Emit, type JointBound, NO_LABELS } from './metric.ts';
import { type PeerEdge, PeerEdges } from './peer_edges.ts';
import {
  outcomesOf,
  REQUEST_BUCKETS,
  REQUEST_KIND,
  type RequestCounts,
  type RequestLabels,
  requestsOf,
  type ShownRequests,
} from './request_rows.ts';

const NANOSECONDS = 1e-9;
/** Index of the failed requests in the counts. */
const FAILED = 2;

/** Names and texts of the metrics of a probe that counts requests by edge. */
export interface EdgeMetricsText {
  /** Beginning of the metrics' names, such as `netsonde_http_edge`. */
  readonly prefix: string;
  readonly requests: string;
  readonly failed: string;
  readonly durations: string;
}

/** Declares the metrics of requests by edge. All probes show at most as many edges of a Pod as `flow`. */
export function edgeMetrics({ prefix, requests, failed, durations }: EdgeMetricsText) {
  const bound: JointBound = { max: EDGES_MAX, rank: ['edgeRequests'] };
  const common = { scope: 'pod', source: 'cgroup_skb, map request_rows', labels: edgeLabels(bound) } as const;
  return defineMetrics({
    edgeRequests: {
      ...common,
      type: 'counter',
      name: `${prefix}_requests_total`,
      help: requests,
      detail: 'core',
    },
    edgeErrors: {
      ...common,
      type: 'counter',
      name: `${prefix}_errors_total`,
      help: failed,
      detail: 'core',
    },
    edgeDurations: {
      ...common,
      type: 'histogram',
      unit: 'seconds',
      buckets: REQUEST_BUCKETS,
      name: `${prefix}_duration_seconds`,
      help: durations,
      detail: 'full',
    },
  });
}

export type EdgeMetrics = ReturnType<typeof edgeMetrics>;

type Row = PeerEdge<RequestLabels, RequestCounts>;

/** Requests of a probe by edge, for its metrics and for the API. */
export class ProbeRequests {
  readonly #rows: L7User['requests'];
  readonly #protocols: ReadonlySet<RequestProtocol>;
  readonly #bound: JointBound;
  readonly #naming: SharedNaming;
  readonly #edges: PeerEdges<RequestLabels, RequestCounts, RequestTotals>;
  readonly #followed: Disposable;
  #connections: readonly ReadConnections[] = [];

  /**
   * @param metrics what `edgeMetrics` returned
   * @param protocols protocols that the probe parses
   */
  constructor(
    { peers, naming, owners }: Pick<ProbeContext, 'peers' | 'naming' | 'owners'>,
    rows: L7User['requests'],
    metrics: EdgeMetrics,
    protocols: readonly RequestProtocol[],
  ) {
    this.#rows = rows;
    this.#protocols = new Set(protocols);
    this.#bound = metrics.edgeRequests.labels.peer.joint;
    this.#naming = naming;
    const follower = peers.follow<Row>({ pods: false, subjectOf: ({ place }) => place.netns });
    this.#followed = follower;
    this.#edges = new PeerEdges(
      {
        ...REQUEST_KIND,
        endsOf: ({ role, peer, port }) => (port === undefined ? undefined : { role, peer, port }),
        totalsOf,
        add: addRequests,
      },
      follower,
      (netns) => isForgotten(owners, netns),
    );
  }

  /** Why there are no edges; undefined if there are. */
  get note(): string | undefined {
    return this.#naming.current === undefined
      ? 'requests are not counted by peer, because the probe flow does not run'
      : undefined;
  }

  /** Edges of the last collection; undefined before it, and while there are none. */
  get last(): RequestEdges | undefined {
    const { last } = this.#edges;
    if (last === undefined || this.#naming.current === undefined) return undefined;
    return { ...last, rests: last.rests.map(restOf), connections: this.#connections };
  }

  /** @param connections connections of the last collection by whether their requests are read */
  setConnections(connections: readonly ReadConnections[]): void {
    this.#connections = connections;
  }

  /** Reads the rows and emits the metrics. @param isShown whether the rows of a namespace are shown */
  async collect(emit: Emit<EdgeMetrics>, isShown: (subject: ShownRequests['subject']) => boolean): Promise<void> {
    const naming = this.#naming.current;
    if (naming === undefined) return;
    await this.#rows.find();
    this.#edges.begin();
    const rows = this.#rows
      .rows()
      .filter(({ subject, labels: { protocol } }) => this.#protocols.has(protocol) && isShown(subject));
    await this.#edges.take(rows);
    emit.rows<ShownRequests>(this.#bound, rows, {
      subject: ({ subject }) => subject,
      key: ({ id }) => id,
      labels: ({ id, labels }) => edgeLabelsOf(labels, this.#edges.identityOf(id), naming),
      peerNamespace: ({ id }) => this.#edges.identityOf(id)?.namespace ?? '',
      isLast: ({ isLast }) => isLast,
      counted: (row) => this.#rows.counted(row),
      max: naming.edges,
      labelMax: naming.ports,
      samples: ({ counts }, put) => {
        put('edgeRequests', requestsOf(counts), NO_LABELS);
        put('edgeErrors', counts.requests[FAILED] ?? 0, NO_LABELS);
        put('edgeDurations', { counts: counts.durations, sum: Number(counts.sumNs) * NANOSECONDS }, NO_LABELS);
      },
    });
  }

  [Symbol.dispose](): void {
    this.#followed[Symbol.dispose]();
  }
}

function totalsOf(place: EdgePlace, counts: RequestCounts, { protocol }: RequestLabels): RequestTotals {
  const { durations, sumNs } = counts;
  return { ...place, protocol, requests: outcomesOf(counts), durations, sumNs };
}

function restOf({ subject, labels, counts }: ShownRequests): RequestTotals {
  return totalsOf({ netns: subject, role: labels.role, peer: null, identity: undefined, port: 0 }, counts, labels);
}

/** Adds the totals of two edges. All other fields are taken from the first edge. */
export function addRequests(a: RequestTotals, b: RequestTotals): RequestTotals {
  const { ok, declined, failed, unread } = a.requests;
  return {
    ...a,
    requests: {
      ok: addCounters(ok, b.requests.ok),
      declined: addCounters(declined, b.requests.declined),
      failed: addCounters(failed, b.requests.failed),
      unread: addCounters(unread, b.requests.unread),
    },
    durations: a.durations.map((count, index) => addCounters(count, b.durations[index] ?? 0)),
    sumNs: addCounters(a.sumNs, b.sumNs),
  };
}
