import { BpfError, guarded } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativeRing, native } from './native.ts';
import type { BpfObject } from './object.ts';

export interface RingOptions {
  /** Bytes of the longest record that the programs write. Longer ones are left out, and onError is told. */
  readonly recordBytesMax: number;
  /** Milliseconds between two drains. Records wait in the kernel meanwhile: the ring must hold that many. */
  readonly intervalMs: number;
  /** Bytes of the one buffer that a drain fills. What does not fit is taken in the next turn of the event loop. */
  readonly bufferBytes: number;
  /** Gets the records of one drain. The bytes are valid until it returns. */
  readonly onBatch: (batch: RingBatch) => void;
  /** Gets what onBatch throws, and a failed drain. Draining goes on. */
  readonly onError: (error: unknown) => void;
}

export interface RingBatch {
  readonly view: DataView;
  /** Calls `visit` with the place and the length of each record, oldest first. */
  forEach(visit: (at: number, bytes: number) => void): void;
}

const HEADER_BYTES = 8;
const EINVAL = 22;

/**
 * Drains a BPF ring buffer by a timer. Programs submit with BPF_RB_NO_WAKEUP: one wake-up and one call for each
 * event would cost ten times as much. The timer does not keep the process alive.
 */
export class BpfRing implements Disposable {
  readonly #native: NativeRing;
  readonly #options: RingOptions;
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  /** A drain stops when less than this is left of its buffer. */
  readonly #reserve: number;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @throws {BpfError} BPF_RING where the map is no ring, the object is not loaded or the buffer too small. */
  constructor(object: BpfObject, mapName: string, options: RingOptions) {
    this.#reserve = HEADER_BYTES + options.recordBytesMax + 7;
    if (options.bufferBytes < this.#reserve) {
      const message = `open ring ${mapName}: a buffer of ${options.bufferBytes} bytes, at least ${this.#reserve} are needed`;
      throw new BpfError('BPF_RING', message, { operation: 'open ring', subject: mapName, errno: EINVAL });
    }
    const index = [...object.maps.keys()].indexOf(object.map(mapName).name);
    this.#native = guarded('BPF_RING', () => new (native().Ring)(object.handle, index));
    this.#options = options;
    this.#buffer = new Uint8Array(options.bufferBytes);
    this.#view = new DataView(this.#buffer.buffer);
    watchForLeak(this, this.#native, `BPF ring ${mapName}`);
    this.#wait();
  }

  /**
   * Takes what is there now, at most one buffer; returns its bytes.
   * @throws {BpfError} BPF_RING, with EMSGSIZE after a record that is longer than recordBytesMax; BPF_CLOSED
   */
  drain(): number {
    const { recordBytesMax, onBatch } = this.#options;
    const bytes = guarded('BPF_RING', () => this.#native.drain(this.#buffer, recordBytesMax));
    if (bytes > 0) onBatch({ view: this.#view, forEach: (visit) => this.#forEach(bytes, visit) });
    return bytes;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    closed(this);
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #forEach(bytes: number, visit: (at: number, bytes: number) => void): void {
    for (let at = 0; at < bytes; ) {
      const length = this.#view.getUint32(at, true);
      visit(at + HEADER_BYTES, length);
      at += HEADER_BYTES + ((length + 7) & ~7);
    }
  }

  #wait(): void {
    // A timer that held the ring would keep a forgotten one alive, and the leak alarm silent.
    const weak = new WeakRef(this);
    this.#timer = setTimeout(() => {
      const ring = weak.deref();
      if (ring !== undefined) ring.#turn();
    }, this.#options.intervalMs);
    this.#timer.unref();
  }

  #turn(): void {
    if (this.#closed) return;
    let bytes = 0;
    try {
      bytes = this.drain();
    } catch (error) {
      this.#options.onError(error);
    }
    if (this.#closed) return;
    // A drain that filled its buffer left something behind; other work of the loop comes first, then the rest.
    if (bytes + this.#reserve > this.#options.bufferBytes) setImmediate(() => this.#turn());
    else this.#wait();
  }
}
