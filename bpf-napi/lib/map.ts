import { guarded } from './errors.ts';
import type { NativeMap, NativeObject } from './native.ts';

/** Initial capacity of the dump buffer in entries. Maps are often declared much larger than their number of entries. */
const ROOM_FIRST = 256;

/** Copied entries of a map: `count` keys, and their values at the same indices. */
export interface MapDump {
  readonly count: number;
  readonly view: DataView;
  keyAt(index: number): number;
  valueAt(index: number): number;
}

/**
 * A map of an object, usable until the object is closed. Keys and values are raw bytes. A value of a per-CPU map is the
 * concatenation of one value per possible CPU, each padded to a multiple of eight bytes.
 */
export class BpfMap {
  readonly name: string;
  readonly keyBytes: number;
  /** Keeps the object alive while its map is in use. */
  readonly owner: object;
  readonly #native: NativeObject;
  readonly #index: number;
  readonly #valueBytes: number;
  #maxEntries: number;
  #buffer = new Uint8Array(0);
  /** Capacity of the dump buffer in entries. */
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

  /** Size of a value in bytes. For a per-CPU map, this is the size for all possible CPUs together. */
  get valueBytes(): number {
    return this.#valueBytes;
  }

  get fd(): number {
    return guarded('BPF_MAP', () => this.#native.mapFd(this.#index));
  }

  /**
   * Sets the maximum number of entries. Must be called before `load`. For a ring buffer, this is the size in bytes,
   * which must be a power of two and a multiple of the page size.
   */
  resize(maxEntries: number): void {
    guarded('BPF_MAP', () => this.#native.setMaxEntries(this.#index, maxEntries));
    this.#maxEntries = maxEntries;
  }

  /**
   * Makes a hash map allocate memory for each entry when the entry is created (BPF_F_NO_PREALLOC). Must be called
   * before `load`. Tracing programs can safely use such maps since 6.1 (kernel: kernel/bpf/memalloc.c).
   */
  allocateOnDemand(): void {
    guarded('BPF_MAP', () => this.#native.setOnDemand(this.#index));
  }

  /**
   * Sets whether the map is created. Must be called before `load`. Loading fails if a program can access a map that is
   * not created.
   */
  create(wanted: boolean): void {
    guarded('BPF_MAP', () => this.#native.setAutocreate(this.#index, wanted));
  }

  /**
   * Uses the map of another loaded object instead of creating one. Must be called before `load`. The type, key size and
   * value size must match. The maximum number of entries is that of the other map. The map exists until both objects
   * are closed, in either order.
   */
  reuse(other: BpfMap): void {
    this.#maxEntries = guarded('BPF_MAP', () => this.#native.reuseMap(this.#index, other.fd));
  }

  /** Copies the value into `target`; returns false if the key does not exist. */
  lookup(key: Uint8Array, target: Uint8Array): boolean {
    return guarded('BPF_MAP', () => this.#native.lookup(this.#index, key, target));
  }

  update(key: Uint8Array, value: Uint8Array): void {
    guarded('BPF_MAP', () => this.#native.update(this.#index, key, value));
  }

  /** Deletes an entry; returns false if the key did not exist. */
  delete(key: Uint8Array): boolean {
    return guarded('BPF_MAP', () => this.#native.delete(this.#index, key));
  }

  /**
   * Copies all entries of a hash map or array into a buffer that the next dump overwrites. Usually takes one system
   * call; more if the buffer has to grow, and one or more per entry on kernels without batch operations for the map
   * type (per-CPU arrays before 5.13). Entries that are added or removed during the dump may be missing or duplicated.
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

  /**
   * Copies the first `bytes` bytes of an array that was declared with BPF_F_MMAPABLE. Only the first call makes a
   * system call.
   */
  readMapped(target: Uint8Array, bytes: number): void {
    guarded('BPF_MAP', () => this.#native.readMapped(this.#index, target, bytes));
  }

  /**
   * Writes to an array that was declared with BPF_F_MMAPABLE, at `offset` bytes from its start. Only the first call
   * makes a system call. Programs may read the array concurrently: the bytes are stored in ascending order, as aligned
   * 8-byte words, or as smaller aligned words at both ends. Each word is stored atomically.
   */
  writeMapped(offset: number, bytes: Uint8Array): void {
    guarded('BPF_MAP', () => this.#native.writeMapped(this.#index, offset, bytes));
  }
}
