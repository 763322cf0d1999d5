import * as z from 'zod';
import type { RecordName, RecordValues } from '#api/records.ts';
import { parseDuration } from '#core/duration.ts';
import type { NetnsId } from '#core/netns.ts';
import { parsePercent } from '#core/percent.ts';
import { RateBuckets } from '#core/rate_buckets.ts';
import type { NODE } from './metric.ts';
import { defineRetained } from './retained.ts';

/** Kind of records that a probe offers in addition to its metrics and events. */
export interface RecordOffer {
  /** Name of the kind in the `kinds` option of sinks. */
  readonly kind: string;
  /** One sentence for operators that defines a record of this kind and says when it counts as failed. */
  readonly help: string;
  /** True if failed records are sent by default. */
  readonly failedByDefault?: boolean;
}

/** Configured rules that select which records of a probe are sent. */
export interface RecordRules {
  readonly failed: boolean;
  /** Minimum duration in milliseconds of a record that is sent as slow; undefined to send no slow records. */
  readonly slow?: number | undefined;
  /**
   * Fraction of the records selected by no other rule that is sent, chosen at random; undefined to send none of them.
   */
  readonly sample?: number | undefined;
  /** Maximum number of records per second per Pod. */
  readonly perPod: number;
}

const NANOSECONDS_PER_MS = 1e6;
const SLOW_MIN_MS = 0.001;
const SLOW_MAX_MS = 3_600_000;
const SAMPLE_MIN = 0.000_01;
const PER_SECOND_MAX = 10_000;
const RATE = /^(\d{1,6})\/([smh])$/;
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

/** Returns the records per second from a text like `10/s` or `30/m`; undefined if the text is not a rate. */
function parseRate(text: string): number | undefined {
  const [, count, unit = ''] = RATE.exec(text) ?? [];
  const seconds = SECONDS[unit];
  return count === undefined || seconds === undefined ? undefined : Number(count) / seconds;
}

function parseMilliseconds(text: string): number | undefined {
  const nanoseconds = parseDuration(text);
  return nanoseconds === undefined ? undefined : nanoseconds / NANOSECONDS_PER_MS;
}

/** Returns the schema of a quantity that is configured as text. The parsed number must be between the limits. */
function quantity(parse: (text: string) => number | undefined, atLeast: number, atMost: number, allowed: string) {
  const read = (value: unknown) => (typeof value === 'string' ? parse(value) : undefined) ?? Number.NaN;
  return z
    .custom<string>((value) => read(value) >= atLeast && read(value) <= atMost, allowed)
    .transform((text) => read(text));
}

const SLOW = quantity(parseMilliseconds, SLOW_MIN_MS, SLOW_MAX_MS, 'a duration from 1us to 1h, like 200ms or 1s');
const SAMPLE = quantity(parsePercent, SAMPLE_MIN, 1, 'a percentage from 0.001% to 100%, like 1%');
const PER_POD = quantity(parseRate, 1 / 3_600, PER_SECOND_MAX, 'a rate from 1/h to 10000/s, like 10/s or 30/m');

/** Returns the options of `records`, which are the same for all kinds. */
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

/** Returns the schema of a probe's `records` section. */
export function recordsSchema({ help, failedByDefault = false }: RecordOffer) {
  return z
    .preprocess((value) => value ?? {}, z.strictObject(rules(failedByDefault)))
    .prefault({})
    .describe(`Records that the probe sends. ${help}`);
}

/** Properties of a record that the rules use. */
export interface Candidate {
  readonly failed: boolean;
  /** Duration in milliseconds; undefined for kinds without a duration. */
  readonly tookMs?: number | undefined;
}

export type Cause = 'failed' | 'slow' | 'sample';

/**
 * Returns the first rule that matches the record, as the cause for sending it; undefined if no rule matches.
 * @param draw random number in [0, 1)
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

/** Fields that the collector adds to each record. */
type Added = 'time' | 'probe' | 'node' | 'netns' | 'namespace' | 'pod';

/** A record as a probe offers it. */
export type RecordBody = {
  readonly [Name in RecordName]: {
    readonly kind: Name;
    /** Time in nanoseconds since the epoch, converted from the kernel's clock. */
    readonly timeNs: bigint;
    /** Namespace that determines the owner of the record. */
    readonly netns: NetnsId | typeof NODE;
    readonly candidate: Candidate;
    readonly fields: Omit<RecordValues[Name], Added>;
  };
}[RecordName];

/** Offers one record, which is sent if the rules of the configuration select it. Never blocks and never throws. */
export type OfferRecord = (body: RecordBody) => void;

/**
 * Numbers of records by outcome. A record counts under the first rule that selected it, or as `unwanted` if no rule
 * did. A selected record that exceeded the limit of its Pod also counts as `limited`.
 */
export type Choices = Record<Cause | 'limited' | 'unwanted', number>;

export function noChoices(): Choices {
  return { failed: 0, slow: 0, sample: 0, limited: 0, unwanted: 0 };
}

export interface GateOptions {
  /** Initial counts, which the gate updates in place. */
  readonly choices?: Choices;
  readonly random?: () => number;
  /** Returns milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

/**
 * Selects the records of a probe that are sent, and counts all outcomes. The ledger counts all records except
 * `unwanted` ones as produced.
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

  /** Returns whether a rule selects a record, and counts the outcome. */
  selects(candidate: Candidate): boolean {
    const cause = causeOf(candidate, this.#rules, this.#random());
    this.#choices[cause ?? 'unwanted']++;
    return cause !== undefined;
  }

  /**
   * Returns whether the rate limit of the Pod permits sending a selected record.
   * @param owner Pod of the record, or a substitute if the Pod is unknown
   */
  admits(owner: string): boolean {
    const admitted = this.#buckets.admit(owner);
    if (!admitted) this.#choices.limited++;
    return admitted;
  }
}

/**
 * Counts of records that the probe could not offer, including earlier runs. The ledger counts these records as
 * produced.
 */
export interface Unoffered {
  /** Records that the kernel discarded because of a rate limit. */
  readonly limited: bigint;
  /** Records lost because the ring to the agent was full. */
  readonly lost: bigint;
}

/** Counts of a probe's earlier runs. */
export const UNOFFERED = defineRetained<Unoffered>(() => ({ limited: 0n, lost: 0n }));
