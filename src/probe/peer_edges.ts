import type { FlowRole } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import { DepartedEdges } from './departed_edges.ts';
import type { EdgePlace } from './flow_edges.ts';
import type { PeerIdentity } from './peer_identity.ts';
import type { PeerCounts, ShownPeerRow } from './peer_rows.ts';
import { type PeerRow, type PeersFollower, UNKNOWN_PEER } from './peers.ts';

/** An edge: the part of a row's counts that belongs to the current identity of its peer. */
export interface PeerEdge<Labels, Counts> extends PeerRow {
  readonly role: FlowRole;
  readonly place: { readonly netns: EdgePlace['netns']; readonly peer: string; readonly port: number };
  readonly labels: Labels;
  /** Counts of the row when the peer got its current identity. */
  readonly start: Counts;
  counts: Counts;
}

/** Edges of a collection. */
export interface CollectedPeerEdges<Labels, Counts, Totals> {
  /** When the collection ended, in milliseconds since the epoch. */
  readonly collectedAtMs: number;
  readonly edges: Iterable<Totals>;
  /** Totals of edges that ended, or whose peer got another identity. */
  readonly departed: Iterable<Totals>;
  /** Rows that count what has no row of its own. */
  readonly rests: readonly ShownPeerRow<Labels, Counts>[];
}

export interface PeerEdgesKind<Labels, Counts, Totals extends EdgePlace> extends PeerCounts<Counts> {
  /** Returns the role, peer and port of a row; undefined for a rest row. */
  endsOf(labels: Labels):
    | {
        readonly role: FlowRole;
        readonly peer: string;
        readonly port: number;
      }
    | undefined;
  totalsOf(place: EdgePlace, counts: Counts, labels: Labels): Totals;
  add(a: Totals, b: Totals): Totals;
}

/**
 * Edges of the last collection, for the API. If the identity of a peer changes, earlier counts keep the earlier
 * identity.
 */
export class PeerEdges<Labels, Counts, Totals extends EdgePlace> {
  readonly #kind: PeerEdgesKind<Labels, Counts, Totals>;
  readonly #peers: PeersFollower<PeerEdge<Labels, Counts>>;
  /** Edges of the last collection, by the ID of the row. */
  #live: ReadonlyMap<number, PeerEdge<Labels, Counts>> = new Map();
  readonly #departed: DepartedEdges<Totals>;
  readonly #isForgotten: (netns: NetnsId) => boolean;
  #last: CollectedPeerEdges<Labels, Counts, Totals> | undefined;

  /** @param isForgotten returns whether nothing is known any more about the owner of a namespace */
  constructor(
    kind: PeerEdgesKind<Labels, Counts, Totals>,
    peers: PeersFollower<PeerEdge<Labels, Counts>>,
    isForgotten: (netns: NetnsId) => boolean,
  ) {
    this.#kind = kind;
    this.#peers = peers;
    this.#isForgotten = isForgotten;
    this.#departed = new DepartedEdges(kind.add);
  }

  /** Edges; undefined before the first collection. */
  get last(): CollectedPeerEdges<Labels, Counts, Totals> | undefined {
    return this.#last;
  }

  /** Identity of the peer of a row in the last collection; undefined for a rest row. */
  identityOf(id: number): PeerIdentity | undefined {
    return this.#live.get(id)?.identity;
  }

  /** Must be called right before the rows are read. */
  begin(): void {
    this.#peers.begin();
  }

  /** @param rows all rows of a collection */
  async take(rows: readonly ShownPeerRow<Labels, Counts>[]): Promise<void> {
    const live = new Map<number, PeerEdge<Labels, Counts>>();
    const rests: ShownPeerRow<Labels, Counts>[] = [];
    for (const row of rows) {
      const before = this.#live.get(row.id) ?? this.#edgeOf(row);
      if (before === undefined) {
        rests.push(row);
        continue;
      }
      const edge = this.#handOver(before, row.counts);
      edge.counts = row.counts;
      live.set(row.id, edge);
    }
    for (const [id, edge] of this.#live) if (!live.has(id)) this.#departed.add(this.#totalsOf(edge));
    this.#departed.forget(this.#isForgotten);
    this.#live = live;
    await this.#peers.find([...live.values()]);
    const totalsOf = (edge: PeerEdge<Labels, Counts>) => this.#totalsOf(edge);
    this.#last = {
      collectedAtMs: Date.now(),
      edges: {
        *[Symbol.iterator]() {
          for (const edge of live.values()) yield totalsOf(edge);
        },
      },
      departed: this.#departed,
      rests,
    };
  }

  #edgeOf({ subject, labels }: ShownPeerRow<Labels, Counts>): PeerEdge<Labels, Counts> | undefined {
    const ends = this.#kind.endsOf(labels);
    if (ends === undefined) return undefined;
    const { role, peer, port } = ends;
    const { nothing } = this.#kind;
    return {
      role,
      place: { netns: subject, peer, port },
      labels,
      identity: undefined,
      start: nothing,
      counts: nothing,
    };
  }

  /** Ends an edge if the identity of its peer has changed. Returns the edge to which the increase belongs. */
  #handOver(edge: PeerEdge<Labels, Counts>, now: Counts): PeerEdge<Labels, Counts> {
    if (!this.#peers.isStale(edge)) return edge;
    const { counts } = edge;
    const identity = this.#peers.of(edge, !this.#isEqual(now, counts));
    if (identity === edge.identity) return edge;
    this.#departed.add(this.#totalsOf(edge));
    // A new object is created, because a response that is being written may still use the previous one.
    return { ...edge, identity, start: counts };
  }

  #isEqual(a: Counts, b: Counts): boolean {
    return a === b || this.#kind.weightOf(a) === this.#kind.weightOf(b);
  }

  #totalsOf({ role, place, labels, identity = UNKNOWN_PEER, start, counts }: PeerEdge<Labels, Counts>): Totals {
    const { nothing, minus, totalsOf } = this.#kind;
    return totalsOf({ ...place, role, identity }, start === nothing ? counts : minus(counts, start), labels);
  }
}
