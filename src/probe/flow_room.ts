import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, ownerSlot } from '#bpf/generated/common.ts';
import type { NetnsId } from '#core/netns.ts';
import { type Owners, SLOTS } from './owners.ts';
import { bytesOf, readSlots, roomOf } from './room.ts';

const TAKEN: CommonLayout['map'] = 'flow_taken';
const ALLOWED: CommonLayout['map'] = 'flow_allowed';

/** Share of the rows for owners with a slot; the two slots of other namespaces have half of the rest each. */
const OWNERS_SHARE = 3 / 4;
/** The node has the rows of as many Pods: those with its network are behind it. */
const NODE_PODS = 4;
/** Smallest number of owners that the rows are divided among. */
const OWNERS_MIN = 16;

/** Divides the rows of `flow_rows` among the owners of namespaces (ADR 25). */
export class FlowRoom implements Disposable {
  readonly #taken: BpfMap;
  readonly #allowed: BpfMap;
  readonly #owners: Owners;
  readonly #followed: Disposable;
  #rows: number;
  readonly #node: NetnsId | undefined;
  readonly #listed = new Set<number>();
  readonly #written = new Uint32Array(SLOTS);
  /** Rows that each slot holds. */
  #held: Uint32Array = new Uint32Array(SLOTS);
  /** Rows that each slot had taken at the last call of `allow`. */
  #takenBefore: Uint32Array = new Uint32Array(SLOTS);

  /**
   * @param rows number of rows in all
   * @param node the node's namespace
   */
  constructor(object: Pick<BpfObject, 'map'>, owners: Owners, rows: number, node: NetnsId | undefined) {
    this.#taken = object.map(TAKEN);
    this.#allowed = object.map(ALLOWED);
    this.#owners = owners;
    this.#rows = rows;
    this.#node = node;
    for (let slot = 0; slot < ownerSlot.first; slot++) this.#write(slot, 0);
    this.#followed = owners.follow({
      listed: (_, slot) => {
        this.#listed.add(slot);
        // An earlier owner of the slot has left room.
        if (this.#written[slot] === 0) this.#write(slot, 0);
      },
      unlisted: () => undefined,
      freed: (slot) => void this.#listed.delete(slot),
    });
  }

  /** Returns whether the owner of a namespace has little room left. */
  isCrowded(id: NetnsId): boolean {
    const slot = roomOf(this.#owners, id);
    return (this.#held[slot] as number) > this.#limitOf(slot) * OWNERS_SHARE;
  }

  /** Returns the rows taken so far by each slot, to be read before the rows themselves. */
  taken(): Uint32Array {
    return readSlots(this.#taken);
  }

  /**
   * Gives the slots room for new rows.
   * @param taken rows taken by each slot, read before `held`: rows taken since then count twice until the next call
   * @param held rows that the namespaces of each slot hold
   */
  allow(taken: Uint32Array, held: Uint32Array): void {
    this.#held = held;
    this.#takenBefore = taken;
    this.#writeAll();
  }

  /** Sets the number of rows in all. */
  resize(rows: number): void {
    if (rows === this.#rows) return;
    this.#rows = rows;
    this.#writeAll();
  }

  #writeAll(): void {
    for (let slot = 0; slot < SLOTS; slot++) {
      if (slot < ownerSlot.first || this.#listed.has(slot)) this.#write(slot, this.#takenBefore[slot] as number);
    }
  }

  /** Number of rows that one Pod may have. */
  get each(): number {
    // By powers of two, so that a new Pod rarely changes the room of all others.
    const owners = 2 ** Math.ceil(Math.log2(Math.max(OWNERS_MIN, this.#listed.size + NODE_PODS)));
    return Math.max(1, Math.floor((this.#rows * OWNERS_SHARE) / owners));
  }

  [Symbol.dispose](): void {
    this.#followed[Symbol.dispose]();
  }

  #limitOf(slot: number): number {
    if (slot < ownerSlot.first) return Math.floor((this.#rows * (1 - OWNERS_SHARE)) / ownerSlot.first);
    return this.#node !== undefined && slot === this.#owners.slotOf(this.#node) ? NODE_PODS * this.each : this.each;
  }

  #write(slot: number, taken: number): void {
    const allowed = (taken - (this.#held[slot] as number) + this.#limitOf(slot)) >>> 0;
    if (allowed === this.#written[slot]) return;
    this.#allowed.update(bytesOf(slot), bytesOf(allowed));
    this.#written[slot] = allowed;
  }
}
