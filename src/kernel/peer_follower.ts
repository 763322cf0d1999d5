import type { PeerIdentity } from '#probe/peer_identity.ts';
import {
  isLoopback,
  type PeerRow,
  type PeersFollower,
  type PeersUse,
  SELF_PEER,
  UNKNOWN_PEER,
  type Unresolved,
} from '#probe/peers.ts';

/** Addresses and their identities, shared by all followers. */
export interface SharedPeers {
  /** Returns the identity of an address; undefined until the main thread has answered. */
  identityOf(ip: string): PeerIdentity | undefined;
  /** Registers an address. Returns false if it is new and the table is full. */
  hold(ip: string): boolean;
  /**
   * Requests the identities of new addresses, and forgets addresses that no follower uses any more.
   * @param withinMs length in milliseconds of the interval in which rows of the new addresses may have grown
   * @param released addresses that the caller no longer uses
   */
  request(withinMs: number, released: readonly string[]): void;
  /** Returns whether an address is one of the addresses of a row's own entity. */
  isOwn(subject: PeerRow['place']['netns'], ip: string, identity: PeerIdentity): boolean;
}

export interface FollowerOptions<Row extends PeerRow> {
  readonly shared: SharedPeers;
  readonly use: PeersUse<Row>;
  /** Milliseconds for which a collection waits for answers. */
  readonly waitMs: number;
  /** Returns the time of a monotonic clock in milliseconds. */
  readonly nowMs: () => number;
  /** Called when the follower ends. */
  readonly ended: () => void;
}

/**
 * Identities of the peers of one probe's rows (ADR 40).
 *
 * Rows are read at intervals. If an address changed its owner within an interval, the traffic that was counted in this
 * interval cannot be attributed to either owner, so it is attributed to the unknown peer.
 */
export class PeerFollower<Row extends PeerRow> implements PeersFollower<Row> {
  readonly #options: FollowerOptions<Row>;
  /** Addresses of this probe's rows, except those that did not fit into the table. */
  readonly #held = new Set<string>();
  readonly #unanswered = new Set<string>();
  /** Addresses whose identity changed since the last update of the rows. */
  #changed = new Set<string>();
  /**
   * Addresses whose identity changed in either of the two intervals before the last update. Two intervals are kept,
   * because a socket that ends while sockets are being read appears one update late.
   */
  #mixed: readonly [Set<string>, ReadonlySet<string>] = [new Set(), new Set()];
  /** When the rows were last updated. */
  #updatedMs = Number.NEGATIVE_INFINITY;
  /** When the rows were last updated before the last call of `find`. */
  #foundMs = Number.NEGATIVE_INFINITY;
  /** Whether `find` was called since the last update. If it was not, the next update belongs to the same interval. */
  #isFound = false;
  #leftOut = 0;
  /** Whether a collection is waiting for answers. An answer that arrives later counts as a change. */
  #isAsking = false;
  /** Called when no answer is outstanding. */
  #answered: (() => void) | undefined;

  constructor(options: FollowerOptions<Row>) {
    this.#options = options;
  }

  /** Whether peers are named by Pod instead of by workload. */
  get pods(): boolean {
    return this.#options.use.pods;
  }

  holds(ip: string): boolean {
    return this.#held.has(ip);
  }

  /**
   * Called with each answer and each change.
   * @param isChange whether the address belonged to another owner during part of the interval
   */
  told(ip: string, isChange: boolean): void {
    // A late answer counts as a change, because the rows have been attributed to the unknown peer until now.
    if (isChange || (this.#held.has(ip) && !this.#isAsking)) this.#changed.add(ip);
    this.#unanswered.delete(ip);
    if (this.#unanswered.size === 0) this.#answered?.();
  }

  /**
   * Called when no follower uses an address any more. The answer to its next request includes changes in the meantime.
   */
  forgot(ip: string): void {
    this.#changed.delete(ip);
  }

  begin(): void {
    if (this.#isFound) this.#mixed = [this.#changed, this.#mixed[0]];
    else for (const ip of this.#changed) this.#mixed[0].add(ip);
    this.#changed = new Set();
    this.#isFound = false;
    this.#updatedMs = this.#options.nowMs();
  }

  isStale(row: Row): boolean {
    const { identity, translation } = row;
    // The own address of a row does not change, but the real end behind it may.
    if (identity === undefined || (identity === SELF_PEER && translation === undefined)) return false;
    const end = this.#endOf(row);
    const now = this.#options.shared.identityOf(end);
    return now !== undefined && (now !== identity || this.#isMixed(end));
  }

  mayBeTranslated({ place: { peer, port } }: Row): boolean {
    const kind = this.#options.shared.identityOf(peer)?.kind;
    return port !== undefined && !isLoopback(peer) && (kind === 'node' || kind === 'unknown');
  }

  of(row: Row, isGrown: boolean): PeerIdentity {
    const end = this.#endOf(row);
    if (isLoopback(end)) return SELF_PEER;
    const { shared, use } = this.#options;
    const identity = shared.identityOf(end) ?? UNKNOWN_PEER;
    if (shared.isOwn(use.subjectOf(row), end, identity)) return SELF_PEER;
    if (!isGrown || !this.#isMixed(end)) return identity;
    // The growth before and after the answer stays in one row, instead of a second one without a name.
    return row.identity?.kind === 'pending' ? row.identity : UNKNOWN_PEER;
  }

  async find(rows: readonly Row[]): Promise<void> {
    const ips = new Set<string>();
    for (const { place, translation } of rows) {
      if (place.port === undefined || isLoopback(place.peer)) continue;
      ips.add(place.peer);
      for (const ip of [translation?.address, translation?.next]) if (ip !== undefined && !isLoopback(ip)) ips.add(ip);
    }
    this.#isAsking = true;
    if (this.#keep(ips)) await this.#wait();
    this.#isAsking = false;
    this.#isFound = true;
    this.#foundMs = this.#updatedMs;
    for (const row of rows) {
      if (row.place.port !== undefined && row.identity === undefined) row.identity = this.of(row, true);
    }
  }

  unresolved(): Record<Unresolved, number> {
    const counts = { unknown: 0, pending: 0, unanswered: this.#unanswered.size, changed: 0, no_room: this.#leftOut };
    for (const ip of this.#held) {
      const kind = this.#options.shared.identityOf(ip)?.kind;
      if (this.#isMixed(ip)) counts.changed++;
      else if (kind === 'unknown' || kind === 'pending') counts[kind]++;
    }
    return counts;
  }

  [Symbol.dispose](): void {
    this.#options.ended();
    this.#keep(new Set());
  }

  /** Returns the address whose owner a row's growth belongs to. The owner of a real end must be known. */
  #endOf({ place, translation }: Row): string {
    const address = translation?.address;
    return address !== undefined && this.#options.shared.identityOf(address) !== undefined ? address : place.peer;
  }

  #isMixed(ip: string): boolean {
    return this.#changed.has(ip) || this.#mixed.some((ips) => ips.has(ip));
  }

  /**
   * Replaces the set of addresses that this follower uses.
   * @returns whether a new address has no answer yet
   */
  #keep(ips: ReadonlySet<string>): boolean {
    const { shared, waitMs, nowMs } = this.#options;
    const released = [...this.#held].filter((ip) => !ips.has(ip));
    for (const ip of released) {
      this.#held.delete(ip);
      this.#unanswered.delete(ip);
    }
    let isAsked = false;
    this.#leftOut = 0;
    for (const ip of ips) {
      if (this.#held.has(ip)) continue;
      if (!shared.hold(ip)) {
        this.#leftOut++;
        continue;
      }
      this.#held.add(ip);
      if (shared.identityOf(ip) !== undefined) continue;
      this.#unanswered.add(ip);
      isAsked = true;
    }
    shared.request(nowMs() - this.#foundMs + waitMs, released);
    return isAsked && this.#unanswered.size > 0;
  }

  async #wait(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#answered = resolve;
      timer = setTimeout(resolve, this.#options.waitMs);
    });
    clearTimeout(timer);
    this.#answered = undefined;
  }
}
