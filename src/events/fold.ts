import type { EventRecord } from '#api/events.ts';

/** Windows that are open at the same time; what finds none is sent as it is. */
const WINDOWS_MAX = 10_000;
const LOOKS_PER_WINDOW = 4;

/** Fields of equal events of a type, beside those that all types have; undefined for a type that is not known. */
export type EqualBy = (probe: string, type: string) => readonly string[] | undefined;

export interface EventFoldCallbacks {
  readonly equalBy: EqualBy;
  /** Gets, when a window ends, the event that stands for those that were held. */
  readonly send: (events: readonly EventRecord[]) => void;
  /** An event is held, or no longer. */
  readonly held: (event: EventRecord, change: 1 | -1) => void;
  /** An event went into another. */
  readonly folded: (event: EventRecord) => void;
}

interface Window {
  readonly endsMs: number;
  /** The last of the held ones. */
  last: EventRecord | undefined;
  firstTime: string;
  count: number;
}

/**
 * Of equal events within a window the first goes out at once; the others are held, and become one at the end of the window:
 * the last of them, with how many it stands for and when the first of them was. So the counts of what goes out add up to
 * what came in.
 */
export class EventFold implements Disposable {
  readonly #callbacks: EventFoldCallbacks;
  readonly #now: () => number;
  /** In the order in which they end: all are of the same length. */
  readonly #windows = new Map<string, Window>();
  #windowMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #unfolded = 0;

  constructor(callbacks: EventFoldCallbacks, now: () => number = () => performance.now()) {
    this.#callbacks = callbacks;
    this.#now = now;
  }

  /** Length of a window; 0 switches folding off. What is held goes out. */
  set windowMs(windowMs: number) {
    if (windowMs === this.#windowMs) return;
    this.flush();
    clearInterval(this.#timer);
    this.#windowMs = windowMs;
    if (windowMs === 0) return;
    this.#timer = setInterval(() => this.sweep(), windowMs / LOOKS_PER_WINDOW);
    this.#timer.unref();
  }

  /** Events that were not compared with others, because too many windows were open. */
  get unfolded(): number {
    return this.#unfolded;
  }

  /** Whether the event is to go out now. */
  take(event: EventRecord): boolean {
    if (this.#windowMs === 0) return true;
    const key = this.#keyOf(event);
    const window = this.#windows.get(key);
    if (window === undefined) {
      if (this.#windows.size < WINDOWS_MAX) this.#open(key);
      else this.#unfolded++;
      return true;
    }
    if (window.last === undefined) {
      window.firstTime = event.time;
      this.#callbacks.held(event, 1);
    } else this.#callbacks.folded(event);
    window.last = event;
    window.count++;
    return false;
  }

  /** Ends the windows that are due. One in which something came is followed by another. */
  sweep(): void {
    const now = this.#now();
    const due: [string, Window][] = [];
    for (const entry of this.#windows) {
      if (entry[1].endsMs > now) break;
      due.push(entry);
    }
    for (const [key, { last }] of due) {
      this.#windows.delete(key);
      if (last !== undefined) this.#open(key);
    }
    this.#send(due.map(([, window]) => window));
  }

  /** Ends all windows. */
  flush(): void {
    const windows = [...this.#windows.values()];
    this.#windows.clear();
    this.#send(windows);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.flush();
  }

  #open(key: string): void {
    this.#windows.set(key, { endsMs: this.#now() + this.#windowMs, last: undefined, firstTime: '', count: 0 });
  }

  #send(windows: readonly Window[]): void {
    const events = windows.flatMap(({ last, firstTime, count }) => {
      if (last === undefined) return [];
      this.#callbacks.held(last, -1);
      return count === 1 ? [last] : [{ ...last, count, firstTime, lastTime: last.time }];
    });
    if (events.length > 0) this.#callbacks.send(events);
  }

  #keyOf(event: EventRecord): string {
    const fields = this.#callbacks.equalBy(event.probe, event.type) ?? [];
    const { probe, type, netns, src, dst, protocol } = event;
    return JSON.stringify([probe, type, netns, src, dst, protocol, ...fields.map((field) => event[field])]);
  }
}
