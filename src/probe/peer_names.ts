import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { PeerIdentity } from './peer_identity.ts';

/** Maximum number of addresses of a Pod that have names, and of all Pods. */
export const ADDRESSES_OF_ONE_MAX = 512;
export const ADDRESSES_MAX = 16_384;
/** Maximum number of names of an address. */
export const NAMES_OF_ADDRESS_MAX = 8;
/** Longest time in seconds for which an answer is valid, whatever it says. */
const TTL_MAX_S = 3_600;
/**
 * Milliseconds for which a name is kept after its answer is no longer valid, because an application connects a moment
 * after it has asked, and is then seen at the next collection.
 */
const GRACE_MS = 60_000;
/** Minimum time in milliseconds between two searches for expired names. */
const SWEEP_EVERY_MS = 10_000;

/** Addresses that a name has according to an answer. */
export interface ResolvedName {
  readonly name: string;
  /** Addresses in the format of `formatIp`. */
  readonly ips: readonly string[];
  readonly ttlSeconds: number;
}

/** A peer of a client, in the format of `formatIp`. */
export interface NamedPeer {
  readonly netns: NetnsId;
  readonly ip: string;
}

/** Where the names come from. */
export interface NameSource {
  /** Learns all names that were resolved up to now. */
  refresh(): void;
}

/** Names of an address, in the order in which they were first resolved, and when they expire. */
type Names = Map<string, number>;

export interface PeerNamesOptions {
  /** Returns the namespace under which the counts of a namespace are shown. */
  readonly homeOf: (id: NetnsId) => NetnsId;
  /** Returns the peers of the clients' edges. Their names do not expire. */
  readonly edges: () => Iterable<NamedPeer>;
  /** Returns the time of a monotonic clock in milliseconds. */
  readonly nowMs?: () => number;
}

/**
 * Names under which Pods have resolved the addresses of their peers, as their own DNS queries show (ADR 52). A name is
 * the view of one Pod: another Pod may have resolved the same address from another name.
 *
 * A name expires with its answer, and a grace period, unless an edge of the Pod still has the address.
 */
export class PeerNames {
  readonly #options: PeerNamesOptions;
  readonly #nowMs: () => number;
  /** Names by subject and address. The addresses that were resolved longest ago come first. */
  readonly #subjects = new Map<NetnsId, Map<string, Names>>();
  #source: NameSource | undefined;
  #addresses = 0;
  #displaced = 0;
  #sweptMs = Number.NEGATIVE_INFINITY;

  constructor(options: PeerNamesOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** Whether names are being learnt. */
  get isOn(): boolean {
    return this.#source !== undefined;
  }

  /** Number of addresses with names. */
  get size(): number {
    return this.#addresses;
  }

  /** Number of addresses and names that were forgotten because of a limit. */
  get displaced(): Counter {
    return this.#displaced;
  }

  /** Shows names until the returned object is disposed, and then forgets them. */
  open(source: NameSource): Disposable {
    this.#source = source;
    return {
      [Symbol.dispose]: () => {
        if (this.#source !== source) return;
        this.#source = undefined;
        this.#subjects.clear();
        this.#addresses = 0;
      },
    };
  }

  learn(netns: NetnsId, { name, ips, ttlSeconds }: ResolvedName): void {
    if (this.#source === undefined) return;
    const subject = this.#options.homeOf(netns);
    const untilMs = this.#nowMs() + Math.min(ttlSeconds, TTL_MAX_S) * 1_000 + GRACE_MS;
    const addresses = this.#subjects.get(subject) ?? new Map<string, Names>();
    this.#subjects.set(subject, addresses);
    for (const ip of ips) {
      const names = addresses.get(ip) ?? new Map<string, number>();
      if (!addresses.delete(ip)) this.#addresses++;
      addresses.set(ip, names);
      names.set(name, Math.max(untilMs, names.get(name) ?? 0));
      if (names.size > NAMES_OF_ADDRESS_MAX) this.#dropName(names);
      if (addresses.size > ADDRESSES_OF_ONE_MAX) this.#dropAddress(addresses);
      else if (this.#addresses > ADDRESSES_MAX) this.#dropAddress(this.#largest());
    }
  }

  /** Returns the names under which a Pod has resolved an address, in the order in which it first did. */
  of(netns: NetnsId, ip: string): readonly string[] {
    if (this.#source === undefined) return [];
    this.#source.refresh();
    const names = this.#subjects.get(this.#options.homeOf(netns))?.get(ip);
    return names === undefined ? [] : [...names.keys()];
  }

  /** Forgets expired names, and those of subjects that no longer exist. */
  sweep(isGone: (subject: NetnsId) => boolean): void {
    for (const [subject, addresses] of this.#subjects) {
      if (!isGone(subject)) continue;
      this.#addresses -= addresses.size;
      this.#subjects.delete(subject);
    }
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return;
    this.#sweptMs = nowMs;
    const expired = [...this.#expired(nowMs)];
    const inUse = expired.length === 0 ? new Set() : this.#inUse();
    for (const { subject, ip } of expired) if (!inUse.has(`${subject} ${ip}`)) this.#forget(subject, ip, nowMs);
  }

  /** Returns the addresses that have an expired name. */
  *#expired(nowMs: number): Generator<{ readonly subject: NetnsId; readonly ip: string }> {
    for (const [subject, addresses] of this.#subjects) {
      for (const [ip, names] of addresses) {
        if ([...names.values()].some((untilMs) => untilMs <= nowMs)) yield { subject, ip };
      }
    }
  }

  /** Forgets the expired names of an address. */
  #forget(subject: NetnsId, ip: string, nowMs: number): void {
    const addresses = this.#subjects.get(subject);
    const names = addresses?.get(ip);
    if (addresses === undefined || names === undefined) return;
    for (const [name, untilMs] of names) if (untilMs <= nowMs) names.delete(name);
    if (names.size === 0 && addresses.delete(ip)) this.#addresses--;
    if (addresses.size === 0) this.#subjects.delete(subject);
  }

  #inUse(): ReadonlySet<string> {
    const inUse = new Set<string>();
    for (const { netns, ip } of this.#options.edges()) inUse.add(`${this.#options.homeOf(netns)} ${ip}`);
    return inUse;
  }

  /** Drops the name that expires first. */
  #dropName(names: Names): void {
    const [first] = [...names].sort(([, a], [, b]) => a - b);
    if (first !== undefined) names.delete(first[0]);
    this.#displaced++;
  }

  /** Drops the address that was resolved longest ago. */
  #dropAddress(addresses: Map<string, Names>): void {
    const [oldest] = addresses.keys();
    if (oldest === undefined) return;
    addresses.delete(oldest);
    this.#addresses--;
    this.#displaced++;
  }

  /** Returns the addresses of the subject that has the most. */
  #largest(): Map<string, Names> {
    let largest = new Map<string, Names>();
    for (const addresses of this.#subjects.values()) if (addresses.size > largest.size) largest = addresses;
    return largest;
  }
}

/**
 * Returns whether a peer is named by DNS: it is outside of the cluster or its owner is unknown, and the configuration
 * has no name for it.
 */
export function isNamedByDns({ kind, name }: Pick<PeerIdentity, 'kind' | 'name'>): boolean {
  return (kind === 'external' || kind === 'unknown') && name === '';
}
