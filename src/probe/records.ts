import * as z from 'zod';
import { parseDuration } from '#core/duration.ts';
import { parsePercent } from '#core/percent.ts';
import { RateBuckets } from '#core/rate_buckets.ts';

/** Kind of records that a probe offers beside its metrics and events. */
export interface RecordOffer {
  /** Name of the kind in the `kinds` of sinks. */
  readonly kind: string;
  /** One sentence for an operator: what a record of this kind is, and when one counts as failed. */
  readonly help: string;
  /** True where failed records are sent by default. */
  readonly failedByDefault?: boolean;
}

/** Rules of the configuration for the records of a probe that are sent. */
export interface RecordRules {
  readonly failed: boolean;
  /** Shortest duration, in milliseconds, of a record that is sent as slow; undefined to send none as slow. */
  readonly slow?: number | undefined;
  /** Share of all others that is sent, by chance; undefined to send none of them. */
  readonly sample?: number | undefined;
  /** Records per second that one Pod may have. */
  readonly perPod: number;
}

const NANOSECONDS_PER_MS = 1e6;
const SLOW_MIN_MS = 0.001;
const SLOW_MAX_MS = 3_600_000;
const SAMPLE_MIN = 0.000_01;
const PER_SECOND_MAX = 10_000;
const RATE = /^(\d{1,6})\/([smh])$/;
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

/** Returns the records per second of `10/s` or `30/m`; undefined where the text is not a rate. */
function parseRate(text: string): number | undefined {
  const [, count, unit = ''] = RATE.exec(text) ?? [];
  const seconds = SECONDS[unit];
  return count === undefined || seconds === undefined ? undefined : Number(count) / seconds;
}

function parseMilliseconds(text: string): number | undefined {
  const nanoseconds = parseDuration(text);
  return nanoseconds === undefined ? undefined : nanoseconds / NANOSECONDS_PER_MS;
}

/** Returns the schema of a quantity: text in the document, which gives a number within bounds. */
function quantity(parse: (text: string) => number | undefined, atLeast: number, atMost: number, allowed: string) {
  const read = (value: unknown) => (typeof value === 'string' ? parse(value) : undefined) ?? Number.NaN;
  return z
    .custom<string>((value) => read(value) >= atLeast && read(value) <= atMost, allowed)
    .transform((text) => read(text));
}

const SLOW = quantity(parseMilliseconds, SLOW_MIN_MS, SLOW_MAX_MS, 'a duration from 1us to 1h, like 200ms or 1s');
const SAMPLE = quantity(parsePercent, SAMPLE_MIN, 1, 'a percentage from 0.001% to 100%, like 1%');
const PER_POD = quantity(parseRate, 1 / 3_600, PER_SECOND_MAX, 'a rate from 1/h to 10000/s, like 10/s or 30/m');

/** Returns the keys of `records`, for any kind. */
function rules(failedByDefault: boolean) {
  return {
    failed: z.boolean().default(failedByDefault).describe('Send failed records.'),
    slow: SLOW.optional().describe('Send records that took at least this long.'),
    sample: SAMPLE.optional().describe('Send this share of all other records, chosen by chance.'),
    perPod: PER_POD.prefault('10/s').describe(
      'Limit of the records of one Pod, with bursts of twice as many; records beyond it are counted as limited.',
    ),
  };
}

export const RECORD_KEYS: readonly string[] = Object.keys(rules(false));

/** Returns the section `records` of a probe. */
export function recordsSchema({ help, failedByDefault = false }: RecordOffer) {
  return z
    .preprocess((value) => value ?? {}, z.strictObject(rules(failedByDefault)))
    .prefault({})
    .describe(`Records that the probe sends. ${help}`);
}

/** Facts about a record by which it is chosen. */
export interface Candidate {
  readonly failed: boolean;
  /** Duration in milliseconds; undefined where the kind has none. */
  readonly tookMs?: number | undefined;
}

export type Cause = 'failed' | 'slow' | 'sample';

/**
 * Returns why a record is sent: the first rule that matches it; undefined where none does.
 * @param draw random number, from 0 to below 1
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

/** Numbers of records by outcome: sent for a cause, beyond the limit of their Pod, or matched by no rule. */
export type Choices = Readonly<Record<Cause | 'limited' | 'unwanted', number>>;

/** Chooses among the records of a probe, and counts them. The ledger counts all but `unwanted` as produced. */
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

  /** Returns whether a record is sent. @param owner Pod of the record, or a substitute where it is unknown */
  admit(candidate: Candidate, owner: string): boolean {
    const cause = causeOf(candidate, this.#rules, this.#random());
    // Only records that a rule matches use up the rate of the Pod.
    const isLimited = cause !== undefined && !this.#buckets.admit(owner);
    this.#choices[isLimited ? 'limited' : (cause ?? 'unwanted')]++;
    return cause !== undefined && !isLimited;
  }

  get choices(): Choices {
    return { ...this.#choices };
  }
}
