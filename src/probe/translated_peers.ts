import { flowRow } from '#bpf/generated/common.ts';
import { NotYet, Unsupported } from '#core/reader.ts';
import { type ConntrackLookup, type LogMaps, type LookupSources, openLookup } from '#sources/conntrack/lookup.ts';
import { missingCapabilities } from '#sources/procfs/capabilities.ts';
import { FlowLog, type LoggedEnds } from './flow_log.ts';
import { type IntervalEnds, TranslatedRow, type Translation } from './translation.ts';

/** Returns why connections cannot be looked up; undefined if they may. */
export function whyNoLookup(): string | undefined {
  const isMissing = missingCapabilities(['CAP_NET_ADMIN']).length > 0;
  return isMissing ? 'looking up connections needs CAP_NET_ADMIN' : undefined;
}

interface Watched {
  readonly row: TranslatedRow;
  /** Value of `unlogged` at the end of the last interval. */
  unlogged: number;
  /** Number of the interval that was ended last. */
  interval: number;
  translation: Translation;
}

const ALWAYS = () => true;
/** Milliseconds after which a look-up that failed is opened again. */
const RETRY_MS = 60_000;
const NO_ROOM: IntervalEnds = { ends: new Set(), failure: 'no_room' };
const UNTRACKED: IntervalEnds = { ends: new Set(), failure: 'untracked' };

/** Finds the real ends of the connections of watched rows, from one update of the rows to the next (ADR 42). */
export class TranslatedPeers implements Disposable {
  readonly #sources: LookupSources;
  readonly #maps: LogMaps;
  readonly #log: FlowLog;
  readonly #rows = new Map<string, Watched>();
  readonly #warn: (message: string) => void;
  #lookup: ConntrackLookup | undefined;
  #reason = whyNoLookup();
  /** Condition for another attempt to open the look-up; undefined if another attempt is useless. */
  #isThere: (() => boolean) | undefined = this.#reason === undefined ? ALWAYS : undefined;
  #interval = 0;
  /** Connections of the current interval; undefined if they could not be looked up. */
  #logged: LoggedEnds | undefined;

  constructor(sources: LookupSources, maps: LogMaps, warn: (message: string) => void) {
    this.#sources = sources;
    this.#maps = maps;
    this.#log = new FlowLog(maps);
    this.#warn = warn;
  }

  /** Whether connections can be looked up. */
  get isOpen(): boolean {
    return this.#lookup !== undefined;
  }

  /** Reason why connections cannot be looked up although the kernel may track them; undefined if there is none. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Opens the look-up as soon as it is possible. */
  async open(): Promise<void> {
    if (this.#lookup !== undefined || this.#isThere?.() !== true) return;
    this.#isThere = undefined;
    try {
      this.#lookup = await openLookup(this.#sources, this.#maps);
      this.#reason = undefined;
    } catch (error) {
      if (error instanceof NotYet) this.#isThere = error.isThere;
      else this.#fail(error);
    }
  }

  /** Ends an interval. Must be called after the rows were dumped, and before `of`. */
  begin(): void {
    for (const [text, { interval }] of this.#rows) if (interval !== this.#interval) this.#rows.delete(text);
    this.#interval++;
    this.#logged = undefined;
    if (this.#lookup === undefined) return;
    try {
      this.#logged = this.#log.read(this.#lookup);
    } catch (error) {
      this.#lookup[Symbol.dispose]();
      this.#lookup = undefined;
      this.#fail(error);
    }
  }

  /**
   * Returns the knowledge about the real end of a watched row in this interval.
   * @param text text of the row's key
   * @param at offset of the row's value
   */
  of(text: string, peer: string, view: DataView, at: number): Translation {
    const unlogged = flowRow.unlogged(view, at);
    const watched = this.#rows.get(text) ?? this.#enter(text, peer);
    if (watched.interval === this.#interval) return watched.translation;
    watched.interval = this.#interval;
    watched.translation = watched.row.next(this.#endsOf(text, unlogged !== watched.unlogged));
    watched.unlogged = unlogged;
    return watched.translation;
  }

  /** Closes the look-up until `open` is called again. */
  close(): void {
    if (this.#lookup === undefined) return;
    this.#lookup[Symbol.dispose]();
    this.#lookup = undefined;
    this.#isThere = ALWAYS;
    this.#rows.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #enter(text: string, peer: string): Watched {
    const watched: Watched = {
      row: new TranslatedRow(peer),
      unlogged: 0,
      interval: 0,
      translation: { state: 'pending' },
    };
    this.#rows.set(text, watched);
    return watched;
  }

  #endsOf(text: string, hasUnlogged: boolean): IntervalEnds | undefined {
    if (this.#logged === undefined) return UNTRACKED;
    return hasUnlogged || this.#logged.isTorn ? NO_ROOM : this.#logged.rows.get(text);
  }

  /** Keeps the reason, and schedules a retry unless the kernel or a missing right rules out every attempt. */
  #fail(error: unknown): void {
    const { message } = error as Error;
    const isNew = message !== this.#reason;
    this.#reason = message;
    if (error instanceof Unsupported) return;
    const failedMs = performance.now();
    this.#isThere = () => performance.now() - failedMs >= RETRY_MS;
    if (isNew) this.#warn(`connections cannot be looked up: ${message}; retrying every ${RETRY_MS / 1_000} s`);
  }
}
