import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, ownerSlot } from '#bpf/generated/common.ts';
import { bytesOf } from '#bpf/layout.ts';
import type { NetnsId } from '#core/netns.ts';
import { type Owners, SLOTS } from './owners.ts';
import { describeFull, readSlots, roomOf } from './room.ts';

const ROWS: CommonLayout['map'] = 'flow_rows';
const TAKEN: CommonLayout['map'] = 'flow_taken';
const ALLOWED: CommonLayout['map'] = 'flow_allowed';

/**
 * Fraction of the rows that is divided among owners with a slot. The remaining rows are divided equally between the two
 * slots of other namespaces.
 */
const OWNERS_SHARE = 3 / 4;
/** Number of Pods whose rows the node may use together, because hostNetwork Pods use the node's namespace. */
const NODE_PODS = 4;
/** Minimum number of owners among which the rows are divided. */
const OWNERS_MIN = 16;

/**
 * Returns the maximum number of rows of one Pod.
 * @param listed number of owners with a slot, including the node
 */
export function rowsEach(rows: number, listed: number): number {
  // The number is rounded up to a power of two, so that a new Pod rarely changes the limits of all Pods.
  const owners = 2 ** Math.ceil(Math.log2(Math.max(OWNERS_MIN, listed + NODE_PODS)));
  return Math.max(1, Math.floor((rows * OWNERS_SHARE) / owners));
}

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
  /** Number of rows that each slot currently holds. */
  #held: Uint32Array = new Uint32Array(SLOTS);
  /** Total number of rows that each slot had taken by the last call of `allow`. */
  #takenBefore: Uint32Array = new Uint32Array(SLOTS);

  /**
   * @param rows total number of rows
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
        if (this.#listed.has(slot)) return;
        this.#listed.add(slot);
        // The previous owner of the slot may have used up its rows.
        this.#held[slot] = 0;
        this.#takenBefore[slot] = this.#takenBy(slot);
        this.#write(slot, this.#takenBefore[slot] as number);
      },
      unlisted: () => undefined,
      freed: (slot) => void this.#listed.delete(slot),
    });
  }

  /** Describes for operators which owners have no free rows. */
  get degraded(): string[] {
    const full = [...this.#held.keys()].filter(
      (slot) => (this.#held[slot] as number) > 0 && (this.#held[slot] as number) >= this.#limitOf(slot),
    );
    return describeFull(
      ROWS,
      full,
      { ofOwner: this.each, ofUnlisted: this.#limitOf(ownerSlot.unlisted) },
      this.#owners,
    );
  }

  /** Returns whether the owner of a namespace has only few free rows. */
  isCrowded(id: NetnsId): boolean {
    const slot = roomOf(this.#owners, id);
    return (this.#held[slot] as number) > this.#limitOf(slot) * OWNERS_SHARE;
  }

  /**
   * Returns the total number of rows that each slot has taken so far. Must be called before the rows themselves are
   * read.
   */
  taken(): Uint32Array {
    return readSlots(this.#taken);
  }

  /**
   * Updates the number of rows that each slot may take.
   * @param taken rows taken by each slot, read before `held`; rows taken in between count twice until the next call
   * @param held rows that the namespaces of each slot hold
   */
  allow(taken: Uint32Array, held: Uint32Array): void {
    this.#held = held;
    this.#takenBefore = taken;
    this.#writeAll();
  }

  /** Sets the total number of rows. */
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

  /** Maximum number of rows of one Pod. */
  get each(): number {
    return rowsEach(this.#rows, this.#listed.size);
  }

  [Symbol.dispose](): void {
    this.#followed[Symbol.dispose]();
  }

  #takenBy(slot: number): number {
    const taken = new Uint32Array(1);
    this.#taken.lookup(bytesOf(slot), new Uint8Array(taken.buffer));
    return taken[0] as number;
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
