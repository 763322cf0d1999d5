import { BpfError, guarded } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativeRing, native } from './native.ts';
import type { BpfObject } from './object.ts';

/**
 * - `timer`: every `intervalMs`, with or without records. Programs submit with BPF_RB_NO_WAKEUP or without.
 * - `epoll`: when the kernel reports a record, and then until the ring is empty; without records nothing runs. Every program
 *   must submit without BPF_RB_NO_WAKEUP: the kernel reports a record only if all before it were read, so a silent
 *   one holds back the notifications of those that follow.
 * - `adaptive`: by epoll while records are rare, and by the timer while they flow. A notification within `intervalMs` after the last records
 *   starts the timer, at first with shorter pauses, since a burst may fill the ring. A drain by the timer ends this mode if it finds nothing,
 *   and nothing was found for `intervalMs` before it. Programs submit as for `epoll`.
 */
export type RingWakeUp = 'timer' | 'epoll' | 'adaptive';

export interface RingOptions {
  /** Bytes of the longest record that the programs write. Longer ones are left out, and reported to onError. */
  readonly recordBytesMax: number;
  /** Initial trigger of drains; `timer` by default. */
  readonly wakeBy?: RingWakeUp;
  /** Milliseconds between two drains by the timer, and longest wait of a record. Records wait in the kernel meanwhile: the ring must hold that many. */
  readonly intervalMs: number;
  /** Bytes of the one buffer that a drain fills. The next turn of the event loop reads the rest. */
  readonly bufferBytes: number;
  /** Gets the records of one drain. The bytes are valid until it returns. */
  readonly onBatch: (batch: RingBatch) => void;
  /** Gets errors that onBatch throws, and those of a failed drain. Draining continues. */
  readonly onError: (error: unknown) => void;
}

export interface RingBatch {
  readonly view: DataView;
  /** Calls `visit` with the place and the length of each record, oldest first. */
  forEach(visit: (at: number, bytes: number) => void): void;
}

const HEADER_BYTES = 8;
/** First pause of a flow as a fraction of the interval, and the factor by which each next pause is longer. */
const FIRST_PAUSE = 1 / 25;
const PAUSE_GROWTH = 5;
const EINVAL = 22;

/**
 * Drains a BPF ring buffer by a timer, when the kernel wakes it, or by the one of these that costs less. Under load the timer costs a
 * fraction: one wake-up and one call for each event cost ten times as much. Without records only the timer costs anything. None keeps
 * the process alive.
 */
export class BpfRing implements Disposable {
  // A static function: one made in a method would hold everything that other functions made there hold, and so the ring.
  static readonly #notice = (ring: BpfRing) => ring.#noticed();
  static readonly #tick = (ring: BpfRing) => ring.#turn();

  readonly #native: NativeRing;
  readonly #options: RingOptions;
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  /** Free bytes of its buffer below which a drain stops. */
  readonly #reserve: number;
  #wakeBy: RingWakeUp = 'timer';
  /** True while the ring waits for the kernel's notifications, not for the timer. */
  #isWatching = false;
  /** Time of the last records, by a clock that nobody sets. */
  #takenMs = Number.NEGATIVE_INFINITY;
  /** Milliseconds before the next drain by the timer. */
  #pauseMs: number;
  #wakeUps = 0;
  #timer: NodeJS.Timeout | undefined;
  #rest: NodeJS.Immediate | undefined;
  #closed = false;

  /** @throws {BpfError} BPF_RING if the map is no ring, the object is not loaded or the buffer too small. */
  constructor(object: BpfObject, mapName: string, options: RingOptions) {
    this.#reserve = HEADER_BYTES + options.recordBytesMax + 7;
    if (options.bufferBytes < this.#reserve) {
      const message = `open ring ${mapName}: a buffer of ${options.bufferBytes} bytes, at least ${this.#reserve} are needed`;
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

  /** Number of wake-ups by the timer or the kernel. */
  get wakeUps(): number {
    return this.#wakeUps;
  }

  /**
   * Changes the trigger of drains, at any time, even in onBatch. No record is lost or handed out twice: before the ring waits
   * for the kernel's notifications, it drains the waiting records.
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
   * Reads the waiting records, at most one buffer; returns its bytes.
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

  /** A function that held the ring would keep a forgotten one alive, and the leak alarm silent. */
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

  /** Handles a notification of the kernel. */
  #noticed(): void {
    if (this.#wakeBy !== 'adaptive' || !this.#isFlow) this.#turn();
    else this.#flow();
    // The kernel reports a reserved record until it is submitted: its writer may have lost the CPU.
    if (this.#wakeBy === 'adaptive' && this.#isWatching && !this.#isFlow && !this.#closed) this.#flow();
  }

  #flow(): void {
    this.#watch(false);
    this.#pauseMs = this.#options.intervalMs * FIRST_PAUSE;
    this.#next(false);
  }

  /** Schedules the next drain: after other work of the loop if records are left, otherwise at the next wake-up. */
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
      // The reported records were already read.
      failed = true;
      this.#options.onError(error);
    }
    if (this.#closed) return;
    const isTaken = bytes > 0 || failed;
    if (isTaken) this.#takenMs = performance.now();
    const isFull = bytes + this.#reserve > this.#options.bufferBytes;
    // The kernel reports the next record only if all before it were read.
    this.#next(isFull || (this.#isWatching && (isTaken || !wasWatching)));
  }
}
