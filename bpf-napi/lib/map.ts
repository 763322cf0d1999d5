import { guarded } from './errors.ts';
import type { NativeMap, NativeObject } from './native.ts';

/** A map may have room for many more entries than it has. */
const ROOM_FIRST = 256;

/** Entries of a map, as the kernel copied them: `count` keys, and the value of each at the same index. */
export interface MapDump {
  readonly count: number;
  readonly view: DataView;
  keyAt(index: number): number;
  valueAt(index: number): number;
}

/**
 * A map of an object; it lives as long as the object. Keys and values are the kernel's bytes: a value of a
 * per-CPU map comes once for each possible CPU, each rounded up to eight bytes.
 */
export class BpfMap {
  readonly name: string;
  readonly keyBytes: number;
  /** Reference that prevents collection of the object while its map is in use. */
  readonly owner: object;
  readonly #native: NativeObject;
  readonly #index: number;
  readonly #valueBytes: number;
  #maxEntries: number;
  #buffer = new Uint8Array(0);
  /** Entries that the last dump had room for. */
  #room = ROOM_FIRST;

  constructor(owner: object, handle: NativeObject, index: number, map: NativeMap) {
    this.owner = owner;
    this.name = map.name;
    this.keyBytes = map.keyBytes;
    this.#native = handle;
    this.#index = index;
    this.#valueBytes = map.valueBytes;
    this.#maxEntries = map.maxEntries;
  }

  get maxEntries(): number {
    return this.#maxEntries;
  }

  /** Bytes of one value, all CPUs of a per-CPU map counted. */
  get valueBytes(): number {
    return this.#valueBytes;
  }

  get fd(): number {
    return guarded('BPF_MAP', () => this.#native.mapFd(this.#index));
  }

  /** Before the load. The size of a ring is in bytes, a power of two and a multiple of the page size. */
  resize(maxEntries: number): void {
    guarded('BPF_MAP', () => this.#native.setMaxEntries(this.#index, maxEntries));
    this.#maxEntries = maxEntries;
  }

  /**
   * Before the load: a hash takes the memory of an entry when it comes, not of all at once (BPF_F_NO_PREALLOC). Programs of
   * tracing may do so safely since 6.1 (kernel: kernel/bpf/memalloc.c).
   */
  allocateOnDemand(): void {
    guarded('BPF_MAP', () => this.#native.setOnDemand(this.#index));
  }

  /** Before the load: whether the map is created at all. A program that can reach a map that is not, fails to load. */
  create(wanted: boolean): void {
    guarded('BPF_MAP', () => this.#native.setAutocreate(this.#index, wanted));
  }

  /**
   * Before the load: takes the kernel's map of a loaded object in place of an own one. Types and sizes of keys and values must
   * be equal; the number of entries becomes that of the other. The map lives until both objects are closed, in any order.
   */
  reuse(other: BpfMap): void {
    this.#maxEntries = guarded('BPF_MAP', () => this.#native.reuseMap(this.#index, other.fd));
  }

  /** Writes the value into `target`; returns false if there is no such key. */
  lookup(key: Uint8Array, target: Uint8Array): boolean {
    return guarded('BPF_MAP', () => this.#native.lookup(this.#index, key, target));
  }

  update(key: Uint8Array, value: Uint8Array): void {
    guarded('BPF_MAP', () => this.#native.update(this.#index, key, value));
  }

  /** Returns false if there was no such key. */
  delete(key: Uint8Array): boolean {
    return guarded('BPF_MAP', () => this.#native.delete(this.#index, key));
  }

  /**
   * Copies all entries of a hash or an array into one buffer, which the next dump overwrites: with one system call where the
   * kernel allows it, and again if there are more than twice as many as ever before; otherwise (per-CPU arrays before 5.13) one
   * by one. Entries that are added or removed meanwhile may be missing or doubled.
   */
  dump(): MapDump {
    for (;;) {
      const capacity = Math.min(this.#room, this.#maxEntries);
      const valuesAt = (capacity * this.keyBytes + 7) & ~7;
      const bytes = valuesAt + capacity * this.#valueBytes;
      if (this.#buffer.length < bytes) this.#buffer = new Uint8Array(bytes);
      const count = guarded('BPF_MAP', () => this.#native.dump(this.#index, this.#buffer, capacity));
      if (count >= 0) return this.#dumped(count, valuesAt);
      this.#room *= 2;
    }
  }

  #dumped(count: number, valuesAt: number): MapDump {
    const { keyBytes } = this;
    const valueBytes = this.#valueBytes;
    return {
      count,
      view: new DataView(this.#buffer.buffer),
      keyAt: (index) => index * keyBytes,
      valueAt: (index) => valuesAt + index * valueBytes,
    };
  }

  /** Copies the first `bytes` of an array that was declared with BPF_F_MMAPABLE. No system call after the first. */
  readMapped(target: Uint8Array, bytes: number): void {
    guarded('BPF_MAP', () => this.#native.readMapped(this.#index, target, bytes));
  }

  /**
   * Writes into an array that was declared with BPF_F_MMAPABLE, `offset` bytes from its start. No system call after the first.
   * Programs may read meanwhile: each whole word of eight bytes at a multiple of eight is stored at once, before and after
   * these each of four at a multiple of four; one word after the other, in their order.
   */
  writeMapped(offset: number, bytes: Uint8Array): void {
    guarded('BPF_MAP', () => this.#native.writeMapped(this.#index, offset, bytes));
  }
}
