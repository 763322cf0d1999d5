import type { PeerKind } from '#api/words.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { isSamePeer } from '#probe/peers.ts';
import type { PeersAsk, PeersTold, PeerTold } from './peer_table.ts';

export interface PeerTellerOptions {
  /** Returns the current identity of an address. */
  readonly identify: (ip: string) => PeerIdentity;
  /** Returns the zone of this node; undefined if it is unknown. */
  readonly zone: () => string | undefined;
  /**
   * Called with each request. Returns a promise that resolves once the owners are known. Returns undefined if they are
   * already known, or will not be known soon.
   */
  readonly settled?: () => Promise<void> | undefined;
  /** Sends identities to the kernel thread. */
  readonly tell: (told: PeersTold) => void;
  /** Returns the time of a monotonic clock in milliseconds. */
  readonly nowMs?: () => number;
}

/** An address that the kernel thread does not currently request. */
interface Recent {
  readonly identity: PeerIdentity;
  /** When its identity changed; undefined if no change is known. */
  readonly changedMs: number | undefined;
  /** When the address was remembered. */
  readonly atMs: number;
}

const OWNERLESS: ReadonlySet<PeerKind> = new Set(['unknown', 'pending']);
/**
 * Milliseconds for which notifications that may affect all addresses are collected, because each one requires many
 * look-ups.
 */
const SETTLE_MS = 50;
/** Milliseconds for which the last change of an address is remembered. No interval between two collections is longer. */
const RECENT_MS = 600_000;
/** Maximum number of addresses whose last change is remembered in case the kernel thread requests them later. */
const RECENT_MAX = 4_096;

/**
 * Answers the kernel thread's requests for identities. Then reports each change of a requested identity, until the
 * kernel thread forgets the address.
 */
export class PeerTeller implements Disposable {
  readonly #options: PeerTellerOptions;
  readonly #nowMs: () => number;
  /** Identity of each requested address that was last sent or queued. */
  readonly #told = new Map<string, PeerIdentity>();
  /** Identities to send in the next message, by address. */
  readonly #pending = new Map<string, PeerTold>();
  readonly #recent = new Map<string, Recent>();
  /** Whether the identity of any requested address may have changed. */
  #isAllStale = false;
  /** Requests that are answered once the owners are known. */
  readonly #waiting: PeersAsk[] = [];
  /** Whether the kernel thread has requested any identities. */
  #isFollowed = false;
  #pods = false;
  #zone: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;

  constructor(options: PeerTellerOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** Number of addresses whose last change is remembered. */
  get remembered(): number {
    return this.#recent.size;
  }

  /** Number of addresses whose identity the kernel thread follows. */
  get size(): number {
    return this.#told.size;
  }

  asked(ask: PeersAsk): void {
    const settled = this.#options.settled?.();
    if (settled === undefined && this.#waiting.length === 0) {
      this.#answer(ask);
      return;
    }
    this.#waiting.push(ask);
    if (this.#waiting.length > 1) return;
    const answer = () => {
      for (const one of this.#waiting.splice(0)) this.#answer(one);
    };
    settled?.then(answer, answer);
  }

  #answer({ pods, add, withinMs, forget }: PeersAsk): void {
    if (pods !== this.#pods) this.#isAllStale = true;
    this.#pods = pods;
    this.#isFollowed = true;
    for (const ip of forget) this.#forget(ip);
    for (const ip of add) this.#add(ip, withinMs);
    this.#send();
  }

  /**
   * Called when the identity of an address may have changed.
   * @param ip undefined if this applies to all addresses
   */
  changed(ip?: string): void {
    if (ip === undefined) this.#isAllStale = true;
    else if (this.#told.has(ip)) this.#compare(ip);
    else if (this.#isFollowed) this.#note(ip);
    // A known change is sent soon, because the traffic of the address is attributed to the previous owner until then.
    if (this.#pending.size > 0) this.#soon ??= setImmediate(() => this.#send());
    else if (this.#isAllStale) this.#timer ??= setTimeout(() => this.#send(), SETTLE_MS);
  }

  /** Called when a new kernel thread has started. It has not requested any addresses yet. */
  reset(): void {
    this.#told.clear();
    this.#pending.clear();
    this.#waiting.length = 0;
    this.#recent.clear();
    this.#isFollowed = false;
    this.#zone = undefined;
    this.#settle();
  }

  [Symbol.dispose](): void {
    this.#settle();
  }

  #add(ip: string, withinMs: number): void {
    const identity = this.#identify(ip);
    const { changedMs } = this.#recent.get(ip) ?? {};
    this.#recent.delete(ip);
    const isMixed = changedMs !== undefined && this.#nowMs() - changedMs <= withinMs;
    this.#told.set(ip, identity);
    this.#pending.set(ip, { ip, identity, isMixed });
  }

  #forget(ip: string): void {
    const identity = this.#told.get(ip);
    this.#told.delete(ip);
    this.#pending.delete(ip);
    if (identity !== undefined) this.#remember(ip, { identity, changedMs: undefined });
  }

  /** Records that an address changed its owner, in case the kernel thread requests the address soon. */
  #note(ip: string): void {
    const identity = this.#identify(ip);
    const before = this.#recent.get(ip);
    // The first notification about an address without an owner means that it has just lost its owner.
    const isChanged = before === undefined ? OWNERLESS.has(identity.kind) : !isSamePeer(before.identity, identity);
    this.#remember(ip, { identity, changedMs: isChanged ? this.#nowMs() : before?.changedMs });
  }

  #remember(ip: string, recent: Omit<Recent, 'atMs'>): void {
    const atMs = this.#nowMs();
    this.#recent.delete(ip);
    this.#recent.set(ip, { ...recent, atMs });
    for (const [oldest, { atMs: rememberedMs }] of this.#recent) {
      if (this.#recent.size <= RECENT_MAX && atMs - rememberedMs < RECENT_MS) return;
      this.#recent.delete(oldest);
    }
  }

  /**
   * Returns an identity without the details that the kernel thread does not show, so that they do not count as changes.
   */
  #identify(ip: string): PeerIdentity {
    const { kind, namespace, name, zone, pod } = this.#options.identify(ip);
    const shown: PeerIdentity =
      this.#pods && pod !== undefined ? { kind: 'pod', namespace, name: pod } : { kind, namespace, name };
    return zone === undefined ? shown : { ...shown, zone };
  }

  /**
   * Queues the identity of an address if it has changed. The change is reported even if the address has returned to its
   * previous identity by the time the message is sent, because traffic in between belongs to another owner.
   */
  #compare(ip: string): void {
    const before = this.#told.get(ip);
    if (before === undefined) return;
    const identity = this.#identify(ip);
    if (isSamePeer(before, identity)) return;
    this.#told.set(ip, identity);
    this.#pending.set(ip, { ip, identity, isMixed: true });
  }

  #settle(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#soon);
    this.#timer = this.#soon = undefined;
  }

  #send(): void {
    this.#settle();
    if (this.#isAllStale) for (const ip of this.#told.keys()) this.#compare(ip);
    this.#isAllStale = false;
    const peers = [...this.#pending.values()];
    this.#pending.clear();
    const zone = this.#options.zone();
    if (peers.length === 0 && zone === this.#zone) return;
    this.#zone = zone;
    this.#options.tell({ peers, zone });
  }
}
