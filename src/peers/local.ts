import type { EntityStatus } from '#api/entities.ts';
import { parseIp } from '#core/address.ts';
import { type Clock, SYSTEM_CLOCK } from '#core/clock.ts';
import type { Owner } from './claims.ts';
import type { LocalOwner, OwnerListener, Owners } from './peer.ts';

export interface LocalOwnersOptions {
  /** Returns the entities with the addresses of their network namespaces. */
  readonly entities: () => Promise<readonly EntityStatus[]>;
  /** Name of this node. */
  readonly node: string;
  readonly changed: OwnerListener;
  /** Called when some addresses exceed the limit although none did in the previous read. */
  readonly limited: (leftOut: number) => void;
  readonly clock?: Clock;
  readonly addressesMax?: number;
}

/** Maximum number of addresses to keep. */
const ADDRESSES_MAX = 16_384;
/**
 * Minimum interval in milliseconds between two reads. A read dumps the addresses of all namespaces, which takes 5 ms
 * for a hundred namespaces.
 */
const REFRESH_MS = 2_000;
/**
 * Milliseconds after which all owners count as unknown, because addresses may have moved to other namespaces since
 * then.
 */
const STALE_MS = 2 * REFRESH_MS;

/**
 * Owners of the addresses in this machine's network namespaces, for an agent without Kubernetes. The addresses are read
 * only while owners are being looked up. After a pause, the first look-up therefore returns an unknown owner, and
 * `changed` is called once the owner is known.
 */
export class LocalOwners implements Owners {
  /** Whether look-ups are enabled. */
  isOn = true;
  readonly #options: LocalOwnersOptions;
  readonly #clock: Clock;
  /** Owners by address; undefined for an address that occurs in several namespaces. */
  #found = new Map<string, Owner | LocalOwner | undefined>();
  #leftOut = 0;
  #readMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(options: LocalOwnersOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
  }

  /** Number of addresses that exceeded the limit in the last read. */
  get leftOut(): number {
    return this.#leftOut;
  }

  find(given: string): Owner | LocalOwner | undefined {
    this.#refresh();
    return this.#isKnown ? this.#found.get(parseIp(given) ?? given) : undefined;
  }

  /** Starts a read if the owners may have changed. Returns the read in progress; undefined if the owners are known. */
  settled(): Promise<void> | undefined {
    this.#refresh();
    return this.#isKnown ? undefined : this.#reading;
  }

  isPending(): boolean {
    return this.isOn && this.#readMs === Number.NEGATIVE_INFINITY;
  }

  isLocal(): boolean {
    return false;
  }

  isOutside(ip: string): boolean {
    this.#refresh();
    return this.#isKnown && this.#leftOut === 0 && !this.#found.has(ip);
  }

  /** Always empty, because there are no Services without Kubernetes. */
  serviceWorkloads(): readonly [] {
    return [];
  }

  get #isKnown(): boolean {
    return this.isOn && this.#clock.now() - this.#readMs < STALE_MS;
  }

  #refresh(): void {
    if (!this.isOn || this.#reading !== undefined || this.#clock.now() - this.#readMs < REFRESH_MS) return;
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
    });
  }

  async #read(): Promise<void> {
    const askedMs = this.#clock.now();
    let entities: readonly EntityStatus[];
    try {
      entities = await this.#options.entities();
    } catch {
      // The read fails while the kernel thread is being replaced. The next look-up starts another read.
      return;
    }
    const wasKnown = this.#isKnown;
    const before = this.#found;
    this.#found = this.#ownersIn(entities);
    this.#readMs = askedMs;
    if (!wasKnown || !hasSameOwners(before, this.#found)) this.#options.changed();
  }

  #ownersIn(entities: readonly EntityStatus[]): Map<string, Owner | LocalOwner | undefined> {
    const { node, addressesMax = ADDRESSES_MAX } = this.#options;
    const found = new Map<string, Owner | LocalOwner | undefined>();
    const leftOutBefore = this.#leftOut;
    this.#leftOut = 0;
    for (const { kind, pod, ips } of entities) {
      const owner: Owner | LocalOwner =
        kind === 'node' ? { kind, namespace: '', name: node, group: '', zone: '' } : { kind: 'local', name: pod };
      for (const ip of ips) {
        if (found.has(ip)) found.set(ip, undefined);
        else if (found.size < addressesMax) found.set(ip, owner);
        else this.#leftOut++;
      }
    }
    if (leftOutBefore === 0 && this.#leftOut > 0) this.#options.limited(this.#leftOut);
    return found;
  }
}

type Found = ReadonlyMap<string, Owner | LocalOwner | undefined>;

function hasSameOwners(before: Found, after: Found): boolean {
  return (
    before.size === after.size &&
    [...after].every(([ip, owner]) => {
      const other = before.get(ip);
      return before.has(ip) && other?.kind === owner?.kind && other?.name === owner?.name;
    })
  );
}
