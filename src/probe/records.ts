import * as z from 'zod';
import type { RecordName, RecordValues } from '#api/records.ts';
import { parseDuration } from '#core/duration.ts';
import type { NetnsId } from '#core/netns.ts';
import { parsePercent } from '#core/percent.ts';
import { RateBuckets } from '#core/rate_buckets.ts';
import type { NODE } from './metric.ts';
import { defineRetained } from './retained.ts';

/** A kind of records that a probe produces in addition to its metrics and events. */
export interface RecordOffer {
  /** Name of the kind, as in the option `kinds` of sinks. */
  readonly kind: string;
  /** Sentence for operators that defines what a record of this kind is, and when it counts as failed. */
  readonly help: string;
  /** Whether failed records are sent by default. */
  readonly failedByDefault?: boolean;
}

/** Configured rules that select the records of a probe to send. */
export interface RecordRules {
  readonly failed: boolean;
  /** Minimum duration in milliseconds for a record to be sent as slow; undefined to send no slow records. */
  readonly slow?: number | undefined;
  /**
   * Fraction of the remaining records, chosen at random, that is sent even though no other rule selects them; undefined
   * for none.
   */
  readonly sample?: number | undefined;
  /** Maximum number of records per second for each Pod. */
  readonly perPod: number;
}

const NANOSECONDS_PER_MS = 1e6;
const SLOW_MIN_MS = 0.001;
const SLOW_MAX_MS = 3_600_000;
const SAMPLE_MIN = 0.000_01;
const PER_SECOND_MAX = 10_000;
const RATE = /^(\d{1,6})\/([smh])$/;
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

/** Parses a text such as `10/s` or `30/m`, and returns the records per second; undefined if the text is not a rate. */
function parseRate(text: string): number | undefined {
  const [, count, unit = ''] = RATE.exec(text) ?? [];
  const seconds = SECONDS[unit];
  return count === undefined || seconds === undefined ? undefined : Number(count) / seconds;
}

function parseMilliseconds(text: string): number | undefined {
  const nanoseconds = parseDuration(text);
  return nanoseconds === undefined ? undefined : nanoseconds / NANOSECONDS_PER_MS;
}

/** Returns the schema for a quantity that is configured as text. The parsed number must be within the limits. */
function quantity(parse: (text: string) => number | undefined, atLeast: number, atMost: number, allowed: string) {
  const read = (value: unknown) => (typeof value === 'string' ? parse(value) : undefined) ?? Number.NaN;
  return z
    .custom<string>((value) => read(value) >= atLeast && read(value) <= atMost, allowed)
    .transform((text) => read(text));
}

const SLOW = quantity(parseMilliseconds, SLOW_MIN_MS, SLOW_MAX_MS, 'a duration from 1us to 1h, like 200ms or 1s');
const SAMPLE = quantity(parsePercent, SAMPLE_MIN, 1, 'a percentage from 0.001% to 100%, like 1%');
const PER_POD = quantity(parseRate, 1 / 3_600, PER_SECOND_MAX, 'a rate from 1/h to 10000/s, like 10/s or 30/m');

/** Returns the options in `records`. They are the same for all kinds. */
function rules(failedByDefault: boolean) {
  return {
    failed: z.boolean().default(failedByDefault).describe('Send failed records.'),
    slow: SLOW.optional().describe('Send records that took at least this long.'),
    sample: SAMPLE.optional().describe('Send this share of all other records, chosen at random.'),
    perPod: PER_POD.prefault('10/s').describe(
      'Maximum rate of records per Pod, with bursts of twice as many. Records above the limit are counted as limited.',
    ),
  };
}

export const RECORD_KEYS: readonly string[] = Object.keys(rules(false));

/** Returns the schema of the section `records` of a probe. */
export function recordsSchema({ help, failedByDefault = false }: RecordOffer) {
  return z
    .preprocess((value) => value ?? {}, z.strictObject(rules(failedByDefault)))
    .prefault({})
    .describe(`Records that the probe sends. ${help}`);
}

/** Properties of a record to which the rules refer. */
export interface Candidate {
  readonly failed: boolean;
  /** Duration in milliseconds; undefined for kinds without a duration. */
  readonly tookMs?: number | undefined;
  /** Whether the kernel has drawn the record for the sample; undefined if it does not draw. */
  readonly isDrawn?: boolean | undefined;
}

export type Cause = 'failed' | 'slow' | 'sample';

/**
 * Returns the first rule that selects the record; undefined if no rule does.
 * @param draw random number in [0, 1)
 */
export function causeOf(
  { failed, tookMs, isDrawn }: Candidate,
  { failed: wantsFailed, slow, sample = 0 }: RecordRules,
  draw: number,
): Cause | undefined {
  if (failed && wantsFailed) return 'failed';
  if (slow !== undefined && tookMs !== undefined && tookMs >= slow) return 'slow';
  return (isDrawn ?? draw < sample) ? 'sample' : undefined;
}

/** Fields that the collector adds to each record. */
type Added = 'time' | 'probe' | 'node' | 'netns' | 'namespace' | 'pod';

/** A record as a probe submits it. */
export type RecordBody = {
  readonly [Name in RecordName]: {
    readonly kind: Name;
    /** Time in nanoseconds since the epoch, converted from the kernel's clock. */
    readonly timeNs: bigint;
    /** Namespace from which the owner of the record is determined. */
    readonly netns: NetnsId | typeof NODE;
    readonly candidate: Candidate;
    readonly fields: Omit<RecordValues[Name], Added>;
  };
}[RecordName];

/** Submits a record, which is sent if a rule in the configuration selects it. Never blocks and never throws. */
export type OfferRecord = (body: RecordBody) => void;

/**
 * Numbers of records by outcome. Each record counts once: under the first rule that selects it, or as `unwanted` if
 * there is none. If a selected record exceeds the limit of its Pod, it counts as `limited` in addition.
 */
export type Choices = Record<Cause | 'limited' | 'unwanted', number>;

export function noChoices(): Choices {
  return { failed: 0, slow: 0, sample: 0, limited: 0, unwanted: 0 };
}

export interface GateOptions {
  /** Initial counts. They are updated in place. */
  readonly choices?: Choices;
  readonly random?: () => number;
  /** Returns milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

/**
 * Selects the records of a probe to send, and counts all outcomes. In the ledger, all records except `unwanted` ones
 * count as produced.
 */
export class RecordGate {
  readonly #rules: RecordRules;
  readonly #buckets: RateBuckets;
  readonly #random: () => number;
  readonly #choices: Choices;

  constructor(ofProbe: RecordRules, { choices = noChoices(), random = Math.random, now }: GateOptions = {}) {
    this.#rules = ofProbe;
    this.#choices = choices;
    this.#buckets = new RateBuckets(ofProbe.perPod, now);
    this.#random = random;
  }

  /** Returns whether a rule selects a record. Counts the outcome. */
  selects(candidate: Candidate): boolean {
    const cause = causeOf(candidate, this.#rules, this.#random());
    this.#choices[cause ?? 'unwanted']++;
    return cause !== undefined;
  }

  /**
   * Returns whether a selected record may be sent within the rate limit of its Pod.
   * @param owner Pod of the record, or a substitute if the Pod is unknown
   */
  admits(owner: string): boolean {
    const admitted = this.#buckets.admit(owner);
    if (!admitted) this.#choices.limited++;
    return admitted;
  }
}

/**
 * Counts of records that were lost before the probe received them, including earlier runs. In the ledger, they count as
 * produced.
 */
export interface Unoffered {
  /** Records that the kernel discarded because of a rate limit. */
  readonly limited: bigint;
  /** Records lost because the ring to the agent was full. */
  readonly lost: bigint;
}

/** Counts from earlier runs of a probe. */
export const UNOFFERED = defineRetained<Unoffered>(() => ({ limited: 0n, lost: 0n }));
