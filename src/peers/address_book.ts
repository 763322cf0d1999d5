import { formatIpWords, readIpWords } from '#core/address.ts';
import { growable, reserve } from '#core/growable.ts';
import { KEY_WORDS, KeyTable } from '#core/key_table.ts';
import { UidTable } from '#core/uid_table.ts';
import { type Claim, Claims, NONE, OWNER_KINDS, type Owner, type OwnerKind } from './claims.ts';

/** An owner and its addresses, as listed by one Kubernetes API object. */
export interface AddressOwner {
  readonly kind: OwnerKind;
  readonly namespace: string;
  readonly name: string;
  /** For a Pod, its workload; for an endpoint, its Service. Absent if unknown. */
  readonly group?: string | undefined;
  readonly zone?: string | undefined;
  /** Creation time in milliseconds since the epoch; 0 if unknown. */
  readonly createdMs: number;
  readonly ips: readonly string[];
}

export interface AddressBookOptions {
  /** Maximum number of addresses. */
  readonly max?: number;
  /** Called with each address whose owner may have changed. */
  readonly changed?: ((ip: string) => void) | undefined;
}

/** Maximum number of addresses to keep. Each uses about 170 bytes. */
const ADDRESSES_MAX = 100_000;
/**
 * Maximum number of claims per address. The address of a Pod has one claim for each EndpointSlice that lists it, and
 * API clients can create any number of slices.
 */
const CLAIMS_MAX = 256;
/** Maximum number of claims, as a multiple of the maximum number of addresses. */
const CLAIMS_PER_ADDRESS = 4;

/** Tables of a book. They reserve address space, so they are created only for a book with entries. */
class Tables {
  readonly claims = new Claims();
  readonly addresses = new KeyTable();
  /** First claim of each address. */
  readonly ofAddress = growable(Int32Array);
  /** Objects with claims. An object without room for any of its addresses has no entry. */
  readonly objects = new UidTable();
  /** First claim of each object. */
  readonly ofObject = growable(Int32Array);
}

/**
 * Finds the owner of an address from the Kubernetes API objects that list the address. Stores addresses, UIDs and names
 * outside of the JavaScript heap.
 */
export class AddressBook {
  readonly #max: number;
  readonly #changed: ((ip: string) => void) | undefined;
  #made: Tables | undefined;
  readonly #leftOut = new Map<string, number>();
  #leftOutSum = 0;
  #moment = 0;

  constructor({ max = ADDRESSES_MAX, changed }: AddressBookOptions = {}) {
    this.#max = max;
    this.#changed = changed;
  }

  get size(): number {
    return this.#made?.addresses.size ?? 0;
  }

  /** Number of addresses that are missing because of the limits. */
  get leftOut(): number {
    return this.#leftOutSum;
  }

  /**
   * Replaces the claims of an object. A claim that the object already had keeps its age.
   * @param object UID of the object
   * @param isNews whether the object has just changed, so that its new claims are more recent than all others; false
   *   for an object from a list, because the objects of a list have no order
   */
  set(object: string, owners: readonly AddressOwner[], isNews = true): void {
    if (isNews) this.#moment++;
    this.#forgetLeftOut(object);
    const old = new Set(this.#claimsOf(this.#tables.objects.find(object)));
    const kept: number[] = [];
    let leftOut = 0;
    for (const { ips, group = '', zone = '', ...owner } of owners) {
      const claim = { ...owner, group, zone };
      for (const ip of ips) {
        if (!readIpWords(ip, this.#tables.addresses.key)) continue;
        const at = this.#keep(old, claim) ?? this.#add(claim);
        if (at === undefined) leftOut++;
        else kept.push(at);
      }
    }
    for (const at of old) this.#remove(at);
    this.#chain(object, kept);
    if (leftOut > 0) this.#leftOut.set(object, leftOut);
    this.#leftOutSum += leftOut;
  }

  delete(object: string): void {
    this.#forgetLeftOut(object);
    const index = this.#tables.objects.find(object);
    for (const at of this.#claimsOf(index)) this.#remove(at);
    if (index >= 0) this.#tables.objects.delete(index);
  }

  /**
   * Returns the owner of an address; undefined if there is none or if it is ambiguous. A node takes precedence over
   * Pods that share its address. The object of a Pod or Service takes precedence over an EndpointSlice, because any
   * user may write EndpointSlices. If two owners of the same kind claim the address, the more recent claim wins. If
   * both claims came with a list, the owner that was created last wins. The other owner must have ended, even if the
   * API does not show that yet.
   */
  find(ip: string): Owner | undefined {
    if (this.#made === undefined || !readIpWords(ip, this.#tables.addresses.key)) return undefined;
    const address = this.#tables.addresses.find();
    if (address < 0) return undefined;
    const claims = [...this.#claimsAt(address)];
    for (const kind of OWNER_KINDS) {
      const found = claims.filter((at) => this.#tables.claims.kindOf(at) === kind);
      if (found.length > 0) return this.#newest(found);
    }
    return undefined;
  }

  /** Returns the Pods that EndpointSlices list with this address: one for each claim, with its Service as `group`. */
  endpoints(ip: string): readonly Owner[] {
    if (!readIpWords(ip, this.#tables.addresses.key)) return [];
    const address = this.#tables.addresses.find();
    if (address < 0) return [];
    const claims = [...this.#claimsAt(address)];
    return claims
      .filter((at) => this.#tables.claims.kindOf(at) === 'endpoint')
      .map((at) => this.#tables.claims.ownerOf(at));
  }

  get #tables(): Tables {
    this.#made ??= new Tables();
    return this.#made;
  }

  #newest(claims: readonly number[]): Owner | undefined {
    const last = lastBy(
      lastBy(claims, (at) => this.#tables.claims.momentOf(at)),
      (at) => this.#tables.claims.createdMsOf(at),
    );
    const [first, ...others] = last.map((at) => this.#tables.claims.ownerOf(at));
    if (first === undefined) return undefined;
    const isClear = others.every(({ namespace, name }) => namespace === first.namespace && name === first.name);
    if (!isClear) return undefined;
    if (first.kind !== 'endpoint') return first;
    // Older claims are included, because different slices with the same Pod may have arrived at different times.
    const all = claims.filter((at) => this.#tables.claims.isOf(at, { ...first, createdMs: 0 }));
    return { ...first, group: all.map((at) => this.#tables.claims.groupOf(at)).reduce(plainest) };
  }

  /**
   * Searches `old` for a claim with the same owner and the address in the key of the table. Updates the claim, removes
   * it from `old` and returns it. Returns undefined if there is none.
   */
  #keep(old: Set<number>, claim: Claim): number | undefined {
    const address = old.size === 0 ? -1 : this.#tables.addresses.find();
    if (address < 0) return undefined;
    for (const at of this.#claimsAt(address)) {
      if (!old.has(at) || !this.#tables.claims.isOf(at, claim)) continue;
      old.delete(at);
      if (this.#tables.claims.update(at, claim)) this.#tell(address);
      return at;
    }
    return undefined;
  }

  /** Adds a claim to the address in the key of the table. Returns undefined if a limit is reached. */
  #add(claim: Claim): number | undefined {
    if (this.#tables.claims.size >= this.#max * CLAIMS_PER_ADDRESS) return undefined;
    if (this.#tables.addresses.find() < 0 && this.#tables.addresses.size >= this.#max) return undefined;
    const address = this.#tables.addresses.add();
    reserve(this.#tables.ofAddress, address + 1);
    const first = this.#tables.ofAddress[address] as number;
    if (first !== NONE && [...this.#claimsAt(address)].length >= CLAIMS_MAX) return undefined;
    const at = this.#tables.claims.add(claim, address, this.#moment);
    this.#tables.claims.setNextOfAddress(at, first);
    this.#tables.ofAddress[address] = at;
    this.#tell(address);
    return at;
  }

  /** Removes a claim from the list of its address, but not from the list of its object. */
  #remove(at: number): void {
    const address = this.#tables.claims.addressOf(at);
    const next = this.#tables.claims.nextOfAddress(at);
    const before = [...this.#claimsAt(address)].find((each) => this.#tables.claims.nextOfAddress(each) === at);
    if (before === undefined) this.#tables.ofAddress[address] = next;
    else this.#tables.claims.setNextOfAddress(before, next);
    this.#tables.claims.delete(at);
    this.#tell(address);
    if (this.#tables.ofAddress[address] === NONE) this.#tables.addresses.delete(address);
  }

  /** Sets the list of an object's claims. */
  #chain(object: string, claims: readonly number[]): void {
    if (claims.length === 0) {
      const known = this.#tables.objects.find(object);
      if (known >= 0) this.#tables.objects.delete(known);
      return;
    }
    const index = this.#tables.objects.add(object);
    reserve(this.#tables.ofObject, index + 1);
    this.#tables.ofObject[index] = claims[0] as number;
    for (const [nth, at] of claims.entries()) this.#tables.claims.setNextOfObject(at, claims[nth + 1] ?? NONE);
  }

  *#claimsOf(object: number): Generator<number> {
    if (object < 0) return;
    let at = this.#tables.ofObject[object] as number;
    while (at !== NONE) {
      // This is read first, because the caller may remove the claim.
      const next = this.#tables.claims.nextOfObject(at);
      yield at;
      at = next;
    }
  }

  *#claimsAt(address: number): Generator<number> {
    for (let at = this.#tables.ofAddress[address] as number; at !== NONE; at = this.#tables.claims.nextOfAddress(at))
      yield at;
  }

  #forgetLeftOut(object: string): void {
    this.#leftOutSum -= this.#leftOut.get(object) ?? 0;
    this.#leftOut.delete(object);
  }

  #tell(address: number): void {
    if (this.#changed === undefined) return;
    const words = new Uint32Array(KEY_WORDS);
    this.#tables.addresses.read(address, words);
    this.#changed(formatIpWords(words));
  }
}

function lastBy(claims: readonly number[], order: (at: number) => number): readonly number[] {
  const last = Math.max(...claims.map(order));
  return claims.filter((at) => order(at) === last);
}

/**
 * Chooses one of two Services that select the same Pod: the one with the shorter name, or the first in alphabetical
 * order. This choice does not depend on the order in which the API sends the slices, and it prefers `db` to
 * `db-headless` and `db-metrics`.
 */
function plainest(a: string, b: string): string {
  if (a === '' || b === '') return a || b;
  if (a.length !== b.length) return a.length < b.length ? a : b;
  return a < b ? a : b;
}
