import { histogram } from '#bpf/generated/common.ts';
import { dnsRcode, dnsRole, dnsRow, dnsType, dnsUnknown } from '#bpf/generated/dns.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { addCounters, type Counter } from '#core/counter.ts';
import type { Histogram } from '#probe/histogram.ts';
import type { PlaceRow } from '#probe/place_rows.ts';

/** Values of labels, in the order of the counters in struct dns_row. */
export const ROLES = namesOf(dnsRole);
export const TYPES = namesOf(dnsType);
export const RCODES = namesOf(dnsRcode);
export const UNKNOWNS = namesOf(dnsUnknown);

const WORD = 8;

/** Counts of struct dns_row. */
export interface DnsCounts {
  readonly role: (typeof ROLES)[number];
  readonly queries: readonly Counter[];
  readonly answers: readonly Counter[];
  readonly unknown: readonly Counter[];
  readonly unanswered: Counter;
  readonly truncated: Counter;
  readonly durations: Histogram;
}

/** Returns the counts of a row; undefined if its role is not known. */
export function dnsCountsOf({ detail, words }: PlaceRow): DnsCounts | undefined {
  const role = nameOf(dnsRole, Number(detail));
  if (role === undefined) return undefined;
  const { offsets } = dnsRow;
  const part = (offset: number, count: number) => words.slice(offset / WORD, offset / WORD + count);
  return {
    role,
    queries: part(offsets.queries, dnsRow.queriesCount),
    answers: part(offsets.answers, dnsRow.answersCount),
    unknown: part(offsets.unknown, dnsRow.unknownCount),
    unanswered: words[offsets.unanswered / WORD] ?? 0,
    truncated: words[offsets.truncated / WORD] ?? 0,
    durations: {
      sumNs: words[(offsets.durations + histogram.offsets.sum) / WORD] ?? 0,
      counts: part(offsets.durations + histogram.offsets.counts, histogram.countsCount),
    },
  };
}

/** Returns the number of queries in the words of a row. */
export function queriesOf(words: readonly Counter[]): Counter {
  const first = dnsRow.offsets.queries / WORD;
  return words.slice(first, first + dnsRow.queriesCount).reduce(addCounters, 0);
}

/** Names of numbers that struct dns_row counts together as `other`, for events. */
const NAMES: Readonly<Record<number, string>> = {
  1: 'a',
  2: 'ns',
  5: 'cname',
  6: 'soa',
  12: 'ptr',
  15: 'mx',
  16: 'txt',
  28: 'aaaa',
  33: 'srv',
  64: 'svcb',
  65: 'https',
  255: 'any',
};

/** Returns the name of a query type, such as `aaaa` or `type99` (RFC 3597). */
export function typeName(number: number): string {
  return NAMES[number] ?? `type${number}`;
}
