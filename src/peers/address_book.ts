import type { Peer } from '#api/events.ts';

export type OwnerKind = 'pod' | 'node' | 'service';

/** Addresses that one Kubernetes API object lists for an owner. */
export interface AddressOwner {
  readonly kind: OwnerKind;
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since the epoch; 0 if unknown. */
  readonly createdMs: number;
  readonly ips: readonly string[];
}

/** Maximum number of addresses to keep. Each uses 340 bytes. */
const ADDRESSES_MAX = 100_000;
/**
 * Maximum number of claims per address. A Pod's address has one claim for each EndpointSlice that lists it, and API
 * clients may create any number of slices.
 */
const CLAIMS_MAX = 256;

interface Claim {
  readonly object: string;
  readonly owner: Omit<AddressOwner, 'ips'>;
}

/** Finds the owner of an address in the Kubernetes API objects that list it. */
export class AddressBook {
  readonly #max: number;
  /** Addresses by the object that claims them. An object has no entry if none of its addresses fit. */
  readonly #objects = new Map<string, readonly string[]>();
  /** Claims by address. A single claim, by far the most common case, is stored without an array. */
  readonly #claims = new Map<string, Claim | readonly Claim[]>();
  readonly #leftOut = new Map<string, number>();
  #leftOutSum = 0;

  constructor(max = ADDRESSES_MAX) {
    this.#max = max;
  }

  get size(): number {
    return this.#claims.size;
  }

  /** Number of addresses that did not fit. */
  get leftOut(): number {
    return this.#leftOutSum;
  }

  /** Replaces the claims of an object. @param object UID of the object */
  set(object: string, owners: readonly AddressOwner[]): void {
    this.delete(object);
    const added: string[] = [];
    let leftOut = 0;
    for (const { ips, ...owner } of owners) {
      for (const ip of ips.map(plainIp)) {
        if (this.#add(ip, { object, owner })) added.push(ip);
        else leftOut++;
      }
    }
    if (added.length > 0) this.#objects.set(object, added);
    if (leftOut > 0) this.#leftOut.set(object, leftOut);
    this.#leftOutSum += leftOut;
  }

  delete(object: string): void {
    for (const ip of this.#objects.get(object) ?? []) this.#remove(ip, object);
    this.#objects.delete(object);
    this.#leftOutSum -= this.#leftOut.get(object) ?? 0;
    this.#leftOut.delete(object);
  }

  /**
   * Returns undefined if the address has no owner or if the owner is ambiguous. A node takes precedence over Pods that
   * share its address. If two Pods have the address, the newer Pod is the owner, because the older one has ended even
   * if the API does not show that yet.
   */
  find(ip: string): Peer | undefined {
    const found = this.#claims.get(ip);
    if (found === undefined) return undefined;
    const claims = isList(found) ? found : [found];
    const owners = claims.map(({ owner }) => owner);
    for (const kind of KINDS) {
      const best = newest(owners.filter((owner) => owner.kind === kind));
      if (best === 'unclear') return undefined;
      if (best !== undefined) return { kind, namespace: best.namespace, name: best.name, ip };
    }
    return undefined;
  }

  #add(ip: string, claim: Claim): boolean {
    const before = this.#claims.get(ip);
    if (before === undefined) {
      if (this.#claims.size >= this.#max) return false;
      this.#claims.set(ip, claim);
      return true;
    }
    const claims = isList(before) ? before : [before];
    if (claims.length >= CLAIMS_MAX) return false;
    this.#claims.set(ip, [...claims, claim]);
    return true;
  }

  #remove(ip: string, object: string): void {
    const before = this.#claims.get(ip);
    if (before === undefined) return;
    const left = (isList(before) ? before : [before]).filter((claim) => claim.object !== object);
    const [first] = left;
    if (first === undefined) this.#claims.delete(ip);
    else this.#claims.set(ip, left.length === 1 ? first : left);
  }
}

const KINDS: readonly OwnerKind[] = ['node', 'pod', 'service'];

function newest(owners: readonly Claim['owner'][]): Claim['owner'] | 'unclear' | undefined {
  const latestMs = Math.max(...owners.map(({ createdMs }) => createdMs));
  const latest = owners.filter(({ createdMs }) => createdMs === latestMs);
  const [first] = latest;
  const isClear = latest.every(({ namespace, name }) => namespace === first?.namespace && name === first.name);
  return isClear ? first : 'unclear';
}

function isList(claims: Claim | readonly Claim[]): claims is readonly Claim[] {
  return Array.isArray(claims);
}

/** Returns the address in the notation that events use, because an IPv6 address can be written in several ways. */
function plainIp(ip: string): string {
  if (!ip.includes(':')) return ip;
  const url = `http://[${ip}]`;
  return URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : ip;
}
