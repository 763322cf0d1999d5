import { growable, reserve } from '#core/growable.ts';
import { SharedTexts, TextHeap } from '#core/text_heap.ts';

/**
 * Kinds of owners. `node`, `pod` and `service` come from objects of these kinds, and `endpoint` is a Pod that an
 * EndpointSlice lists.
 */
export const OWNER_KINDS = ['node', 'pod', 'service', 'endpoint'] as const;
export type OwnerKind = (typeof OWNER_KINDS)[number];

/** Owner of an address, as described by the API. */
export interface Owner {
  readonly kind: OwnerKind;
  /** Kubernetes namespace; empty for a node. */
  readonly namespace: string;
  /** Name of the node, Service or Pod. */
  readonly name: string;
  /** For a Pod, its workload; for an endpoint, its Service. Empty if unknown. */
  readonly group: string;
  /** Zone of the node, or of the node on which the Pod runs; empty if unknown. */
  readonly zone: string;
}

/** Statement of one API object that an owner has an address. */
export interface Claim extends Owner {
  /** When the owner was created, in milliseconds since the epoch; 0 if unknown. */
  readonly createdMs: number;
}

/** Marks the end of a list. Claims are numbered from 1. */
export const NONE = 0;

/**
 * Claims, stored in typed arrays. Each claim is in two linked lists, one for its address and one for its object. It
 * takes about 80 bytes, including its name.
 */
export class Claims {
  readonly #names = new TextHeap();
  readonly #texts = new SharedTexts();
  #size = 0;
  #end = 1;
  #unused = NONE;
  readonly #kind = growable(Uint8Array);
  readonly #namespace = growable(Int32Array);
  readonly #name = growable(Int32Array);
  readonly #group = growable(Int32Array);
  readonly #zone = growable(Int32Array);
  readonly #createdMs = growable(Float64Array);
  readonly #moment = growable(Float64Array);
  /** Index of the address. */
  readonly #address = growable(Int32Array);
  readonly #nextOfAddress = growable(Int32Array);
  readonly #nextOfObject = growable(Int32Array);

  readonly #columns = [
    this.#kind,
    this.#namespace,
    this.#name,
    this.#group,
    this.#zone,
    this.#createdMs,
    this.#moment,
    this.#address,
    this.#nextOfAddress,
    this.#nextOfObject,
  ];

  get size(): number {
    return this.#size;
  }

  /** @param moment number of the update that contained the claim; later updates have larger numbers */
  add(claim: Claim, address: number, moment: number): number {
    const at = this.#take();
    this.#name[at] = this.#names.add(claim.name);
    this.#namespace[at] = this.#texts.add(claim.namespace);
    this.#group[at] = this.#texts.add(claim.group);
    this.#zone[at] = this.#texts.add(claim.zone);
    this.#kind[at] = OWNER_KINDS.indexOf(claim.kind);
    this.#createdMs[at] = claim.createdMs;
    this.#moment[at] = moment;
    this.#address[at] = address;
    this.#size++;
    return at;
  }

  delete(at: number): void {
    this.#names.delete(this.#name[at] as number);
    for (const column of [this.#namespace, this.#group, this.#zone]) this.#texts.delete(column[at] as number);
    this.#nextOfAddress[at] = this.#unused;
    this.#unused = at;
    this.#size--;
  }

  /** Updates those properties that may change while an owner keeps its address. Returns whether any has changed. */
  update(at: number, { group, zone }: Claim): boolean {
    const isChanged = this.#replace(this.#group, at, group);
    return this.#replace(this.#zone, at, zone) || isChanged;
  }

  isOf(at: number, { kind, namespace, name }: Claim): boolean {
    return this.kindOf(at) === kind && this.namespaceOf(at) === namespace && this.nameOf(at) === name;
  }

  ownerOf(at: number): Owner {
    return {
      kind: this.kindOf(at),
      namespace: this.namespaceOf(at),
      name: this.nameOf(at),
      group: this.groupOf(at),
      zone: this.#texts.get(this.#zone[at] as number),
    };
  }

  kindOf(at: number): OwnerKind {
    return OWNER_KINDS[this.#kind[at] as number] as OwnerKind;
  }

  namespaceOf(at: number): string {
    return this.#texts.get(this.#namespace[at] as number);
  }

  nameOf(at: number): string {
    return this.#names.get(this.#name[at] as number);
  }

  groupOf(at: number): string {
    return this.#texts.get(this.#group[at] as number);
  }

  createdMsOf(at: number): number {
    return this.#createdMs[at] as number;
  }

  momentOf(at: number): number {
    return this.#moment[at] as number;
  }

  addressOf(at: number): number {
    return this.#address[at] as number;
  }

  nextOfAddress(at: number): number {
    return this.#nextOfAddress[at] as number;
  }

  setNextOfAddress(at: number, next: number): void {
    this.#nextOfAddress[at] = next;
  }

  nextOfObject(at: number): number {
    return this.#nextOfObject[at] as number;
  }

  setNextOfObject(at: number, next: number): void {
    this.#nextOfObject[at] = next;
  }

  #replace(column: Int32Array, at: number, text: string): boolean {
    const before = column[at] as number;
    if (this.#texts.get(before) === text) return false;
    column[at] = this.#texts.add(text);
    this.#texts.delete(before);
    return true;
  }

  #take(): number {
    if (this.#unused !== NONE) {
      const at = this.#unused;
      this.#unused = this.nextOfAddress(at);
      return at;
    }
    for (const column of this.#columns) reserve(column, this.#end + 1);
    return this.#end++;
  }
}
