import { sumBytes } from '../buffer.ts';
import type { LaneRecord } from '../record.ts';
import { type Receipt, Unavailable } from '../sink.ts';
import { RequestSize } from './request_size.ts';
import type { NotNow, Verdict } from './verdict.ts';

/**
 * Number of individually refused records per write after which further records may be refused as a group, to save
 * requests.
 */
const REFUSALS_MAX = 100;
/**
 * After {@link REFUSALS_MAX}, the remaining records of an owner are refused as a group if this many were refused
 * individually.
 */
const OWNER_REFUSALS_MAX = 10;
/**
 * Number of refused streams after which a write is abandoned if no stream was accepted, because the streams themselves
 * are then unlikely to be the cause.
 */
const REFUSED_STREAMS_MAX = 5;
/**
 * The remaining records of a stream are dropped if the stream has been refused for at least `GIVE_UP_MS` milliseconds
 * and `GIVE_UP_TRIES` times, while other streams were accepted.
 */
const GIVE_UP_MS = 60_000;
const GIVE_UP_TRIES = 5;
/** Maximum number of refused streams to remember. */
const STREAMS_MAX = 1_000;

/** Records that have to be sent in order. Streams are independent of each other. */
export interface Stream {
  readonly key: string;
  readonly records: readonly LaneRecord[];
}

interface Refused {
  readonly sinceMs: number;
  tries: number;
}

export interface DeliveryOptions {
  /** Maximum number of concurrent requests, each for a different stream. */
  readonly requestsMax: number;
  readonly send: (records: readonly LaneRecord[], signal: AbortSignal) => Promise<Verdict>;
  /** Returns milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

/** State of one write. */
class Round implements Receipt {
  readonly #receipt: Receipt;
  readonly signal: AbortSignal;
  /** Number of records that are neither delivered nor rejected. */
  #open: number;
  readonly refused: { readonly stream: Stream; readonly left: readonly LaneRecord[]; readonly verdict: NotNow }[] = [];
  /** Number of individually refused records, in total and by owner. */
  #refusals = 0;
  readonly #refusalsOf = new Map<string, number>();
  hasTaken = false;
  failure: Error | undefined;

  constructor(records: number, receipt: Receipt, signal: AbortSignal) {
    this.#open = records;
    this.#receipt = receipt;
    this.signal = signal;
  }

  delivered(records: readonly LaneRecord[]): void {
    this.#open -= records.length;
    this.#receipt.delivered(records);
  }

  rejected(records: readonly LaneRecord[], why: string): void {
    this.#open -= records.length;
    this.#receipt.rejected(records, why);
  }

  refusedAlone(owner: string): void {
    this.#refusals++;
    this.#refusalsOf.set(owner, (this.#refusalsOf.get(owner) ?? 0) + 1);
  }

  /** Whether the remaining records of an owner are refused as a group instead of individually. */
  isRefused(owner: string): boolean {
    return this.#refusals >= REFUSALS_MAX && (this.#refusalsOf.get(owner) ?? 0) >= OWNER_REFUSALS_MAX;
  }

  /** Whether every record is delivered or rejected. */
  get isDone(): boolean {
    return this.#open === 0;
  }

  get isOver(): boolean {
    return this.failure !== undefined || (!this.hasTaken && this.refused.length >= REFUSED_STREAMS_MAX);
  }
}

/**
 * Sends the records of each stream in order, and determines which records the server refuses. Only the invalid records
 * of a batch are dropped. A batch that is too large is split into smaller requests. A stream that makes no progress
 * does not delay other streams. Splitting may resend records that have already reached the server.
 */
export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #now: () => number;
  readonly #size: RequestSize;
  readonly #refused = new Map<string, Refused>();
  #takenMs = Number.NEGATIVE_INFINITY;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#size = new RequestSize(this.#now);
  }

  /** @throws {Unavailable} if some records are neither delivered nor rejected */
  async deliver(streams: readonly Stream[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    const records = streams.reduce((sum, stream) => sum + stream.records.length, 0);
    const round = new Round(records, receipt, signal);
    const waiting = [...streams].sort((a, b) => this.#triesOf(a) - this.#triesOf(b));
    const work = async () => {
      while (waiting.length > 0 && !round.isOver) {
        const stream = waiting.shift();
        if (stream !== undefined) await this.#deliverStream(stream, round);
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#options.requestsMax, streams.length) }, work));
    const left = round.refused.filter((refusal) => !this.#givesUp(refusal, round));
    if (round.failure !== undefined) throw round.failure;
    if (round.isDone) return;
    const [first] = left.length > 0 ? left : round.refused;
    const retryAfterMs = Math.max(0, ...left.map(({ verdict }) => verdict.retryAfterMs));
    throw new Unavailable(first?.verdict.why ?? '', retryAfterMs);
  }

  async #deliverStream(stream: Stream, round: Round): Promise<void> {
    const parts = [stream.records];
    while (parts.length > 0 && !round.isOver) {
      const [part, later] = this.#size.cut(parts.pop() ?? []);
      if (later.length > 0) parts.push(later);
      let verdict: Verdict;
      try {
        verdict = await this.#options.send(part, round.signal);
      } catch (error) {
        round.failure ??= error as Error;
        return;
      }
      if (verdict.is === 'not now') {
        this.#notNow(stream, [...part, ...parts.toReversed().flat()], part, verdict, round);
        return;
      }
      parts.push(...this.#settle(stream, part, verdict, round));
    }
  }

  /** Handles the server's verdict. Returns the parts to send next, in reverse order. */
  #settle(
    { key }: Stream,
    part: readonly LaneRecord[],
    verdict: Exclude<Verdict, NotNow>,
    round: Round,
  ): (readonly LaneRecord[])[] {
    if (verdict.is === 'taken') {
      this.#size.taken(sumBytes(part));
      this.#refused.delete(key);
      this.#takenMs = this.#now();
      round.hasTaken = true;
      const taken = Math.max(0, part.length - (verdict.refused?.count ?? 0));
      round.delivered(part.slice(0, taken));
      if (verdict.refused !== undefined) round.rejected(part.slice(taken), verdict.refused.why);
      return [];
    }
    const [first] = part;
    if (verdict.is === 'refused' && part.length === 1 && first !== undefined) round.refusedAlone(ownerOf(first));
    if (part.length === 1) {
      round.rejected(part, verdict.why);
      return [];
    }
    if (verdict.is === 'too large') {
      this.#size.refused(sumBytes(part));
      return halvesOf(part);
    }
    const { others, refused } = byOwner(part, round);
    if (refused.length === 0) return halvesOf(part);
    if (others.length === 0 && refused.length === 1) {
      round.rejected(part, verdict.why);
      return [];
    }
    return others.length === 0 ? refused : [...refused, others];
  }

  /** @param left all remaining records of the stream, including `part`, which was sent */
  #notNow(
    stream: Stream,
    left: readonly LaneRecord[],
    part: readonly LaneRecord[],
    verdict: NotNow,
    round: Round,
  ): void {
    const { why, retryAfterMs, ofStream, isTooMuch } = verdict;
    const bytes = sumBytes(part);
    if (isTooMuch && part.length > 1) this.#size.refused(bytes);
    // A record larger than the burst size of the server's rate limit can never be accepted.
    const isAlone = isTooMuch && part.length === 1 && !this.#size.wasTaken(bytes);
    if (ofStream) round.refused.push({ stream, left, verdict });
    else if (isAlone) round.refused.push({ stream, left: part, verdict });
    else round.failure ??= new Unavailable(why, retryAfterMs);
  }

  /**
   * Drops the remaining records of a stream if it has been refused for too long and too often while other streams were
   * accepted. Returns whether the records were dropped.
   */
  #givesUp({ stream, left, verdict }: Round['refused'][number], round: Round): boolean {
    const nowMs = this.#now();
    const refused = this.#refused.get(stream.key) ?? { sinceMs: nowMs, tries: 0 };
    refused.tries++;
    this.#remember(stream.key, refused);
    const isOld = nowMs - refused.sinceMs >= GIVE_UP_MS && refused.tries >= GIVE_UP_TRIES;
    const othersAreTaken = this.#takenMs > refused.sinceMs && nowMs - this.#takenMs < GIVE_UP_MS;
    if (!isOld || !othersAreTaken) return false;
    round.rejected(left, `${verdict.why}; other records are accepted`);
    if (!verdict.ofStream) this.#refused.delete(stream.key);
    return true;
  }

  #remember(key: string, refused: Refused): void {
    const [oldest] = this.#refused.keys();
    if (!this.#refused.has(key) && this.#refused.size >= STREAMS_MAX && oldest !== undefined)
      this.#refused.delete(oldest);
    this.#refused.set(key, refused);
  }

  #triesOf({ key }: Stream): number {
    return this.#refused.get(key)?.tries ?? 0;
  }
}

/** Returns the halves in reverse order. */
function halvesOf(part: readonly LaneRecord[]): (readonly LaneRecord[])[] {
  const half = Math.ceil(part.length / 2);
  return [part.slice(half), part.slice(0, half)];
}

/** Returns the Pod of a record. Invalid records of one Pod must not cause the loss of another Pod's records. */
function ownerOf({ stream, metadata }: LaneRecord): string {
  return `${stream['namespace'] ?? ''}/${metadata['pod'] ?? ''}`;
}

/** Separates the records of each owner that is refused as a group. All other records stay together in `others`. */
function byOwner(part: readonly LaneRecord[], round: Round): { others: LaneRecord[]; refused: LaneRecord[][] } {
  const others: LaneRecord[] = [];
  const refused = new Map<string, LaneRecord[]>();
  for (const record of part) {
    const owner = ownerOf(record);
    const theirs = round.isRefused(owner) ? (refused.get(owner) ?? []) : others;
    theirs.push(record);
    if (theirs !== others) refused.set(owner, theirs);
  }
  return { others, refused: [...refused.values()] };
}
