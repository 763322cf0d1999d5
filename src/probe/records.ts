import * as z from 'zod';
import { parseDuration } from '#core/duration.ts';
import { parsePercent } from '#core/percent.ts';
import { RateBuckets } from '#core/rate_buckets.ts';

/** That a probe has records of a kind beside its metrics and events. */
export interface RecordOffer {
  /** What sinks call them in `kinds`. */
  readonly kind: string;
  /** One sentence for an operator: what a record of it is, and when one has failed. */
  readonly help: string;
  /** Those that failed are sent without being asked for. */
  readonly failedByDefault?: boolean;
}

/** Which records of a probe are sent, as the configuration says it. */
export interface RecordRules {
  readonly failed: boolean;
  /** Those that took at least so long, in milliseconds; undefined: none for that. */
  readonly slow?: number | undefined;
  /** Share of all others, by chance; undefined: none of them. */
  readonly sample?: number | undefined;
  /** Records a second of one Pod. */
  readonly perPod: number;
}

const NANOSECONDS_PER_MS = 1e6;
const SLOW_MIN_MS = 0.001;
const SLOW_MAX_MS = 3_600_000;
const SAMPLE_MIN = 0.000_01;
const PER_SECOND_MAX = 10_000;
const RATE = /^(\d{1,6})\/([smh])$/;
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

/** Records a second of `10/s`, `30/m`; undefined where the text is no rate. */
function parseRate(text: string): number | undefined {
  const [, count, unit = ''] = RATE.exec(text) ?? [];
  const seconds = SECONDS[unit];
  return count === undefined || seconds === undefined ? undefined : Number(count) / seconds;
}

function parseMilliseconds(text: string): number | undefined {
  const nanoseconds = parseDuration(text);
  return nanoseconds === undefined ? undefined : nanoseconds / NANOSECONDS_PER_MS;
}

/** Text in the document, a number within bounds behind it. */
function quantity(parse: (text: string) => number | undefined, atLeast: number, atMost: number, allowed: string) {
  const read = (value: unknown) => (typeof value === 'string' ? parse(value) : undefined) ?? Number.NaN;
  return z
    .custom<string>((value) => read(value) >= atLeast && read(value) <= atMost, allowed)
    .transform((text) => read(text));
}

const SLOW = quantity(parseMilliseconds, SLOW_MIN_MS, SLOW_MAX_MS, 'a duration from 1us to 1h, like 200ms or 1s');
const SAMPLE = quantity(parsePercent, SAMPLE_MIN, 1, 'a percentage from 0.001% to 100%, like 1%');
const PER_POD = quantity(parseRate, 1 / 3_600, PER_SECOND_MAX, 'a rate from 1/h to 10000/s, like 10/s or 30/m');

/** The keys of `records`, for whichever kind. */
function rules(failedByDefault: boolean) {
  return {
    failed: z.boolean().default(failedByDefault).describe('Send those that failed.'),
    slow: SLOW.optional().describe('Send those that took at least this long.'),
    sample: SAMPLE.optional().describe('Send this share of all others, chosen by chance.'),
    perPod: PER_POD.prefault('10/s').describe(
      'Caps the records of one Pod, twice as many at once; what is past it is counted as limited.',
    ),
  };
}

export const RECORD_KEYS: readonly string[] = Object.keys(rules(false));

/** The section `records` of a probe. */
export function recordsSchema({ help, failedByDefault = false }: RecordOffer) {
  return z
    .preprocess((value) => value ?? {}, z.strictObject(rules(failedByDefault)))
    .prefault({})
    .describe(`Which records it sends. ${help}`);
}

/** What is known of a record when it is chosen. */
export interface Candidate {
  readonly failed: boolean;
  /** Milliseconds; undefined where the kind has no duration. */
  readonly tookMs?: number | undefined;
}

export type Cause = 'failed' | 'slow' | 'sample';

/**
 * Why a record is sent: the first rule that asks for it; undefined where none does.
 * @param draw by chance, from 0 to below 1
 */
export function causeOf(
  { failed, tookMs }: Candidate,
  { failed: wantsFailed, slow, sample = 0 }: RecordRules,
  draw: number,
): Cause | undefined {
  if (failed && wantsFailed) return 'failed';
  if (slow !== undefined && tookMs !== undefined && tookMs >= slow) return 'slow';
  return draw < sample ? 'sample' : undefined;
}

/** What became of records: sent for a cause, past the limit of their Pod, or asked for by no rule. */
export type Choices = Readonly<Record<Cause | 'limited' | 'unwanted', number>>;

/** Chooses among the records of a probe, and counts. Produced, for the ledger, is all but `unwanted`. */
export class RecordGate {
  readonly #rules: RecordRules;
  readonly #buckets: RateBuckets;
  readonly #random: () => number;
  readonly #choices = { failed: 0, slow: 0, sample: 0, limited: 0, unwanted: 0 };

  constructor(ofProbe: RecordRules, random: () => number = Math.random, now?: () => number) {
    this.#rules = ofProbe;
    this.#buckets = new RateBuckets(ofProbe.perPod, now);
    this.#random = random;
  }

  /** Whether a record is sent. @param owner its Pod, or what stands for one where that is not known */
  admit(candidate: Candidate, owner: string): boolean {
    const cause = causeOf(candidate, this.#rules, this.#random());
    // Only what a rule asks for uses up the rate of the Pod.
    const isLimited = cause !== undefined && !this.#buckets.admit(owner);
    this.#choices[isLimited ? 'limited' : (cause ?? 'unwanted')]++;
    return cause !== undefined && !isLimited;
  }

  get choices(): Choices {
    return { ...this.#choices };
  }
}
