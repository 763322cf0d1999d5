import type { NetnsId } from '#core/netns.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { isSamePeer, type PeerRow, type Peers, type PeersFollower, type PeersUse, UNKNOWN_PEER } from '#probe/peers.ts';
import { PeerFollower } from './peer_follower.ts';

/** Request of the kernel thread for identities of addresses. */
export interface PeersAsk {
  /** Whether to name peers by Pod instead of by workload. */
  readonly pods: boolean;
  /** Addresses to identify now, and again whenever their identity changes. */
  readonly add: readonly string[];
  /** Length in milliseconds of the interval in which rows of the added addresses may have grown. */
  readonly withinMs: number;
  /** Addresses that no longer have rows. */
  readonly forget: readonly string[];
}

/** Identity of an address, sent as an answer or after a change. */
export interface PeerTold {
  readonly ip: string;
  readonly identity: PeerIdentity;
  /** Whether an added address had another owner within the last `withinMs` milliseconds. */
  readonly isMixed: boolean;
}

export interface PeersTold {
  readonly peers: readonly PeerTold[];
  /** Zone of this node; undefined if it is unknown. */
  readonly zone?: string | undefined;
}

export interface PeerTableOptions {
  /** Sends a request to the main thread. */
  readonly ask: (ask: PeersAsk) => void;
  /** Returns whether an address is one of the addresses of a namespace's owner. */
  readonly isOwn: (subject: NetnsId, ip: string, identity: PeerIdentity) => boolean;
  /** Milliseconds for which a collection waits for answers. */
  readonly waitMs?: number;
  /** Maximum number of addresses. */
  readonly max?: number;
  /** Returns the time of a monotonic clock in milliseconds. */
  readonly nowMs?: () => number;
}

/**
 * Milliseconds for which a collection waits for answers about new addresses. The main thread answers within a few
 * milliseconds unless it is busy.
 */
const WAIT_MS = 250;
/**
 * Maximum number of addresses. Rows with further addresses are attributed to the unknown peer. Each address takes 250
 * bytes.
 */
const ADDRESSES_MAX = 16_384;

/**
 * Identities of the addresses that appear in rows of the kernel thread (ADR 40). Only the main thread can identify the
 * addresses of the cluster. Each probe has a follower for its own rows, and all followers share the identities.
 */
export class PeerTable implements Peers {
  readonly #options: PeerTableOptions;
  readonly #max: number;
  /** Identities by address; undefined until the main thread has answered. */
  readonly #identities = new Map<string, PeerIdentity | undefined>();
  readonly #followers = new Set<PeerFollower<never>>();
  /** Addresses to request next. */
  #added: string[] = [];
  #zone: string | undefined;

  constructor(options: PeerTableOptions) {
    this.#options = options;
    this.#max = options.max ?? ADDRESSES_MAX;
  }

  /** Zone of this node; undefined if it is unknown. */
  get zone(): string | undefined {
    return this.#zone;
  }

  /** Whether peers are named by Pod instead of by workload. */
  get pods(): boolean {
    return [...this.#followers].some(({ pods }) => pods);
  }

  follow<Row extends PeerRow>(use: PeersUse<Row>): PeersFollower<Row> {
    const follower: PeerFollower<Row> = new PeerFollower<Row>({
      shared: {
        identityOf: (ip) => this.#identities.get(ip),
        hold: (ip) => this.#hold(ip),
        request: (withinMs, released) => this.#request(withinMs, released),
        isOwn: this.#options.isOwn,
      },
      use,
      waitMs: this.#options.waitMs ?? WAIT_MS,
      nowMs: this.#options.nowMs ?? (() => performance.now()),
      ended: () => this.#followers.delete(follower),
    });
    this.#followers.add(follower);
    // After the first request, the main thread records changes of identities.
    this.#request(0, []);
    return follower;
  }

  /** Applies answers and changes. Ignores addresses that were forgotten in the meantime. */
  tell({ peers, zone }: PeersTold): void {
    this.#zone = zone;
    for (const { ip, identity, isMixed } of peers) {
      if (!this.#identities.has(ip)) continue;
      const before = this.#identities.get(ip);
      if (before === undefined || !isSamePeer(before, identity)) {
        this.#identities.set(ip, identity.kind === 'unknown' ? UNKNOWN_PEER : identity);
      }
      for (const follower of this.#followers) follower.told(ip, before !== undefined || isMixed);
    }
  }

  #hold(ip: string): boolean {
    if (this.#identities.has(ip)) return true;
    if (this.#identities.size >= this.#max) return false;
    this.#identities.set(ip, undefined);
    this.#added.push(ip);
    return true;
  }

  #request(withinMs: number, released: readonly string[]): void {
    const forget = released.filter((ip) => ![...this.#followers].some((follower) => follower.holds(ip)));
    for (const ip of forget) {
      this.#identities.delete(ip);
      for (const follower of this.#followers) follower.forgot(ip);
    }
    const add = this.#added;
    this.#added = [];
    // The request is sent even if it contains no addresses, because the main thread checks some owners for changes only
    // when it receives a request.
    this.#options.ask({ pods: this.pods, add, withinMs, forget });
  }
}
