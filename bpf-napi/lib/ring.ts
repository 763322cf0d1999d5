import { BpfError, guarded } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativeRing, native } from './native.ts';
import type { BpfObject } from './object.ts';

/**
 * When to read the ring buffer.
 * - `timer`: every `intervalMs`, even if there are no records. Programs may submit with BPF_RB_NO_WAKEUP.
 * - `epoll`: when the kernel reports a record; reads until the ring buffer is empty. Uses no CPU while there are no
 *   records. Programs must not submit with BPF_RB_NO_WAKEUP: the kernel reports a record only if all earlier records
 *   have been read, so a record without a notification suppresses all later ones.
 * - `adaptive`: `epoll` while records are rare, `timer` while they are frequent. If a notification arrives less than
 *   `intervalMs` after the last records, the timer starts, with shorter intervals at first because a burst may fill the
 *   ring buffer. The timer stops after `intervalMs` without records. Programs must submit in the same way as for
 *   `epoll`.
 */
export type RingWakeUp = 'timer' | 'epoll' | 'adaptive';

export interface RingOptions {
  /** Maximum size of a record in bytes. Longer records are skipped and reported to onError. */
  readonly recordBytesMax: number;
  /** Initial trigger of reads. Default: `timer`. */
  readonly wakeBy?: RingWakeUp;
  /**
   * Milliseconds between reads by the timer, which is also the maximum delay of a record. The ring buffer must be large
   * enough for all records of this period.
   */
  readonly intervalMs: number;
  /** Size in bytes of the buffer that one read fills. Remaining records are read in the next turn of the event loop. */
  readonly bufferBytes: number;
  /** Called with the records of each read. The bytes are valid only during the call. */
  readonly onBatch: (batch: RingBatch) => void;
  /** Called with errors thrown by onBatch and with errors of failed reads. Reading continues afterwards. */
  readonly onError: (error: unknown) => void;
}

export interface RingBatch {
  readonly view: DataView;
  /** Calls `visit` with the offset and length of each record, oldest first. */
  forEach(visit: (at: number, bytes: number) => void): void;
}

const HEADER_BYTES = 8;
/**
 * First interval of the adaptive timer as a fraction of `intervalMs`, and the factor by which the next intervals grow.
 */
const FIRST_PAUSE = 1 / 25;
const PAUSE_GROWTH = 5;
const EINVAL = 22;

/**
 * Reads a BPF ring buffer when a timer fires, when the kernel reports a record, or by whichever method is cheaper at
 * the moment. Under load, the timer costs a tenth of a wake-up and a call per event. Without records, only the timer
 * has a cost. An open ring does not keep the process alive.
 */
export class BpfRing implements Disposable {
  // Static functions, because closures that are created in the same method share their variables and would keep the
  // ring alive.
  static readonly #notice = (ring: BpfRing) => ring.#noticed();
  static readonly #tick = (ring: BpfRing) => ring.#turn();

  readonly #native: NativeRing;
  readonly #options: RingOptions;
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  /** A read ends when less than this number of bytes is free in its buffer. */
  readonly #reserve: number;
  #wakeBy: RingWakeUp = 'timer';
  /** True while the ring waits for notifications from the kernel instead of for the timer. */
  #isWatching = false;
  /** Monotonic time at which records were last read. */
  #takenMs = Number.NEGATIVE_INFINITY;
  /** Milliseconds until the timer fires next. */
  #pauseMs: number;
  #wakeUps = 0;
  #timer: NodeJS.Timeout | undefined;
  #rest: NodeJS.Immediate | undefined;
  #closed = false;

  /**
   * @throws {BpfError} BPF_RING if the map is not a ring buffer, the object is not loaded, or the buffer is too small
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

  /** Number of wake-ups so far, by the timer or the kernel. */
  get wakeUps(): number {
    return this.#wakeUps;
  }

  /**
   * Changes when the ring buffer is read. May be called at any time, even in onBatch. No record is lost or delivered
   * twice because the ring buffer is emptied before the switch to notifications from the kernel.
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
   * Reads records until the ring buffer is empty or the buffer is full. Returns the number of bytes read.
   * @throws {BpfError} BPF_RING (EMSGSIZE after a record that is longer than recordBytesMax), BPF_CLOSED
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

  /** Whether records were read less than `intervalMs` ago. */
  get #isFlow(): boolean {
    return performance.now() - this.#takenMs < this.#options.intervalMs;
  }

  /** Handles a notification from the kernel. */
  #noticed(): void {
    if (this.#wakeBy !== 'adaptive' || !this.#isFlow) this.#turn();
    else this.#flow();
    // The kernel reports a reserved record repeatedly until it is submitted. This takes long if its writer was
    // preempted.
    if (this.#wakeBy === 'adaptive' && this.#isWatching && !this.#isFlow && !this.#closed) this.#flow();
  }

  #flow(): void {
    this.#watch(false);
    this.#pauseMs = this.#options.intervalMs * FIRST_PAUSE;
    this.#next(false);
  }

  /**
   * Schedules the next read: after other work in the event loop if there may be more records, otherwise at a wake-up.
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
      // Records may have been read before the failure.
      failed = true;
      this.#options.onError(error);
    }
    if (this.#closed) return;
    const isTaken = bytes > 0 || failed;
    if (isTaken) this.#takenMs = performance.now();
    const isFull = bytes + this.#reserve > this.#options.bufferBytes;
    // The kernel reports the next record only after all earlier records have been read.
    this.#next(isFull || (this.#isWatching && (isTaken || !wasWatching)));
  }
}
