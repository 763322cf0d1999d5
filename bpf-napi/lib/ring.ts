import { BpfError, guarded } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativeRing, native } from './native.ts';
import type { BpfObject } from './object.ts';

/**
 * Trigger of drains.
 * - `timer`: every `intervalMs`, with or without records. Programs may submit with BPF_RB_NO_WAKEUP.
 * - `epoll`: when the kernel reports a record, until the ring is empty. Idle without records. Programs must not
 *   submit with BPF_RB_NO_WAKEUP: the kernel reports a record only if all earlier records were read, so an unreported
 *   record blocks later notifications.
 * - `adaptive`: by epoll while records are rare, and by timer while there is a flow of records. A notification within
 *   `intervalMs` after the last records starts the timer, with shorter pauses at first because a burst may fill the
 *   ring. The timer stops after `intervalMs` without records. Programs must submit as for `epoll`.
 */
export type RingWakeUp = 'timer' | 'epoll' | 'adaptive';

export interface RingOptions {
  /** Maximum size of a record in bytes. Longer records are skipped and reported to onError. */
  readonly recordBytesMax: number;
  /** Initial trigger of drains. Default: `timer`. */
  readonly wakeBy?: RingWakeUp;
  /**
   * Milliseconds between drains by the timer, which is also the maximum delay of a record. The ring must be large
   * enough for all records of that period.
   */
  readonly intervalMs: number;
  /** Size in bytes of the buffer that a drain fills. Remaining records are read in the next turn of the event loop. */
  readonly bufferBytes: number;
  /** Called with the records of a drain. The bytes are valid only during the call. */
  readonly onBatch: (batch: RingBatch) => void;
  /** Called with errors that onBatch throws and errors of failed drains. Draining continues. */
  readonly onError: (error: unknown) => void;
}

export interface RingBatch {
  readonly view: DataView;
  /** Calls `visit` with the offset and length of each record, oldest first. */
  forEach(visit: (at: number, bytes: number) => void): void;
}

const HEADER_BYTES = 8;
/**
 * First pause after a flow of records starts, as a fraction of the interval, and growth factor of the following pauses.
 */
const FIRST_PAUSE = 1 / 25;
const PAUSE_GROWTH = 5;
const EINVAL = 22;

/**
 * Drains a BPF ring buffer when a timer fires, when the kernel reports a record, or by whichever of these costs less at
 * the moment. Under load, the timer is ten times cheaper than a wake-up and a call per event. Without records, only the
 * timer has a cost. A ring does not keep the process alive.
 */
export class BpfRing implements Disposable {
  // These functions are static because closures created in the same method share their variables, which would keep the
  // ring alive.
  static readonly #notice = (ring: BpfRing) => ring.#noticed();
  static readonly #tick = (ring: BpfRing) => ring.#turn();

  readonly #native: NativeRing;
  readonly #options: RingOptions;
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  /** A drain stops when its buffer has less than this number of free bytes. */
  readonly #reserve: number;
  #wakeBy: RingWakeUp = 'timer';
  /** True while the ring waits for notifications of the kernel and not for the timer. */
  #isWatching = false;
  /** Time of the last records on a monotonic clock. */
  #takenMs = Number.NEGATIVE_INFINITY;
  /** Milliseconds until the next drain by the timer. */
  #pauseMs: number;
  #wakeUps = 0;
  #timer: NodeJS.Timeout | undefined;
  #rest: NodeJS.Immediate | undefined;
  #closed = false;

  /**
   * @throws {BpfError} BPF_RING if the map is not a ring, the object is not loaded, or the buffer is too small
   */
  constructor(object: BpfObject, mapName: string, options: RingOptions) {
    this.#reserve = HEADER_BYTES + options.recordBytesMax + 7;
    if (options.bufferBytes < this.#reserve) {
      const message = `open ring ${mapName}: the buffer has ${options.bufferBytes} bytes but needs at least ${this.#reserve}`;
      throw new BpfError('BPF_RING', message, { operation: 'open ring', subject: mapName, errno: EINVAL });
    }
    const index = [...object.maps.keys()].indexOf(object.map(mapName).name);
    this.#native = guarded('BPF_RING', () => new (native().Ring)(object.handle, index));
    this.#options = options;
    this.#pauseMs = options.intervalMs;
    this.#buffer = new Uint8Array(options.bufferBytes);
    this.#view = new DataView(this.#buffer.buffer);
    watchForLeak(this, this.#native, `BPF ring ${mapName}`);
    this.#next(false);
    if (options.wakeBy !== undefined) this.wakeBy(options.wakeBy);
  }

  /** Number of wake-ups by the timer and the kernel. */
  get wakeUps(): number {
    return this.#wakeUps;
  }

  /**
   * Changes the trigger of drains. May be called at any time, even in onBatch. Records are neither lost nor delivered
   * twice because the ring is drained before it starts to wait for notifications of the kernel.
   * @throws {BpfError} BPF_CLOSED, BPF_RING
   */
  wakeBy(wakeUp: RingWakeUp): void {
    if (wakeUp === this.#wakeBy && !this.#closed) return;
    const isWatching = wakeUp !== 'timer';
    this.#watch(isWatching);
    this.#wakeBy = wakeUp;
    this.#next(isWatching || this.#rest !== undefined);
  }

  /**
   * Reads waiting records until the buffer is full. Returns the number of bytes.
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
    clearImmediate(this.#rest);
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

  #watch(isWatching: boolean): void {
    if (isWatching === this.#isWatching && !this.#closed) return;
    guarded('BPF_RING', () => {
      if (isWatching) this.#native.watch(this.#waker(BpfRing.#notice));
      else this.#native.unwatch();
    });
    this.#isWatching = isWatching;
  }

  /**
   * Returns a callback that references the ring weakly. A strong reference would keep a forgotten ring alive and
   * prevent the leak warning.
   */
  #waker(wake: (ring: BpfRing) => void): () => void {
    const weak = new WeakRef(this);
    return () => {
      const ring = weak.deref();
      if (ring === undefined || ring.#rest !== undefined) return;
      ring.#wakeUps++;
      wake(ring);
    };
  }

  /** Returns whether records were read within the interval. */
  get #isFlow(): boolean {
    return performance.now() - this.#takenMs < this.#options.intervalMs;
  }

  /** Handles a notification from the kernel. */
  #noticed(): void {
    if (this.#wakeBy !== 'adaptive' || !this.#isFlow) this.#turn();
    else this.#flow();
    // The kernel reports a reserved record repeatedly until it is submitted, which takes a long time if its writer is
    // not running.
    if (this.#wakeBy === 'adaptive' && this.#isWatching && !this.#isFlow && !this.#closed) this.#flow();
  }

  #flow(): void {
    this.#watch(false);
    this.#pauseMs = this.#options.intervalMs * FIRST_PAUSE;
    this.#next(false);
  }

  /**
   * Schedules the next drain. If records remain, it runs after other work of the event loop; otherwise it runs at the
   * next wake-up.
   */
  #next(isMore: boolean): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#rest);
    this.#rest = isMore ? setImmediate(() => this.#turn()) : undefined;
    if (isMore || this.#isWatching) return;
    this.#timer = setTimeout(this.#waker(BpfRing.#tick), this.#pauseMs);
    this.#timer.unref();
    this.#pauseMs = Math.min(this.#options.intervalMs, this.#pauseMs * PAUSE_GROWTH);
  }

  #turn(): void {
    this.#rest = undefined;
    if (this.#closed) return;
    const wasWatching = this.#isWatching;
    let bytes = 0;
    let failed = false;
    try {
      bytes = this.drain();
      if (bytes === 0 && this.#wakeBy === 'adaptive' && !this.#isFlow) this.#watch(true);
    } catch (error) {
      // Records before the failure were already read.
      failed = true;
      this.#options.onError(error);
    }
    if (this.#closed) return;
    const isTaken = bytes > 0 || failed;
    if (isTaken) this.#takenMs = performance.now();
    const isFull = bytes + this.#reserve > this.#options.bufferBytes;
    // The kernel reports the next record only if all earlier records were read.
    this.#next(isFull || (this.#isWatching && (isTaken || !wasWatching)));
  }
}
