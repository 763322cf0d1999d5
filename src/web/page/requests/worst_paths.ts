import type { SeenEvent } from '../event_log.ts';
import { entityName } from '../format.ts';

/** Requests with the same method and path, or queries for the same name, that events report. */
export interface WorstPath {
  /** Method and template of the path, or type and name of a query. */
  readonly what: string;
  /** Number of requests that failed, by status or, for calls of gRPC, by code. */
  readonly statuses: ReadonlyMap<string, number>;
  readonly failed: number;
  /** Number of requests that were slow, but did not fail. */
  readonly slow: number;
  /** Longest duration in seconds. */
  readonly longest: number;
  /** Time of the last one. */
  readonly last: string;
}

interface Sums {
  readonly statuses: Map<string, number>;
  failed: number;
  slow: number;
  longest: number;
  last: string;
}

/** Adds up the events of requests by what was asked for, the most failed first. */
export function worstPaths(events: readonly SeenEvent[]): WorstPath[] {
  const sums = new Map<string, Sums>();
  for (const seen of events) {
    const asked = askedFor(seen.event);
    if (asked === undefined) continue;
    const { what, isFailed, status } = asked;
    const one: Sums = sums.get(what) ?? { statuses: new Map(), failed: 0, slow: 0, longest: 0, last: '' };
    sums.set(what, one);
    const times = seen.event.count ?? 1;
    if (isFailed) {
      one.failed += times;
      one.statuses.set(status, (one.statuses.get(status) ?? 0) + times);
    } else one.slow += times;
    one.longest = Math.max(one.longest, Number(seen.event['seconds'] ?? 0));
    if (seen.event.time > one.last) one.last = seen.event.time;
  }
  return [...sums]
    .map(([what, one]) => ({ what, ...one }))
    .sort((a, b) => b.failed - a.failed || b.longest - a.longest || (a.what < b.what ? -1 : 1));
}

/** Returns the number of events since a time about failed or slow requests, and about names that do not exist. */
export function requestEvents(events: readonly SeenEvent[], sinceMs: number): number {
  const isAbout = ({ event }: SeenEvent) => event.type === 'dns_nxdomain_storm' || askedFor(event) !== undefined;
  const recent = events.filter((seen) => isAbout(seen) && Date.parse(seen.event.time) >= sinceMs);
  return recent.reduce((sum, { event }) => sum + (event.count ?? 1), 0);
}

interface Asked {
  readonly what: string;
  readonly isFailed: boolean;
  readonly status: string;
}

function askedFor(event: SeenEvent['event']): Asked | undefined {
  const text = (name: string) => String(event[name] ?? '');
  switch (event.type) {
    case 'http_request_failed':
    case 'http_request_slow': {
      const path = event['path'] === undefined ? 'an unknown path' : text('path');
      const isFailed = event.type === 'http_request_failed';
      return { what: `${text('method')} ${path}`, isFailed, status: text('grpcCode') || text('status') };
    }
    case 'dns_unanswered':
      return { what: `${text('qtype').toUpperCase()} ${text('name')}`, isFailed: true, status: 'no answer' };
    default:
      return undefined;
  }
}

/** A name that does not exist. */
export interface MissingName {
  readonly name: string;
  /** Number of names that were asked for instead, because a search list completes the name; undefined if none were. */
  readonly askedAs: number | undefined;
  /** Pod that last asked for it. */
  readonly asker: string;
}

/**
 * Returns the names that do not exist according to events, the most recent first. Names that a search list
 * makes of another one are left out.
 */
export function missingNames(events: readonly SeenEvent[]): readonly MissingName[] {
  const names = new Map<string, MissingName>();
  for (const { event } of events) {
    const { amplified, askedAs, names: all } = event;
    const asker = entityName(event);
    const add = (name: string, ways?: number) => {
      if (!names.has(name)) names.set(name, { name, askedAs: ways, asker });
    };
    if (event.type !== 'dns_nxdomain_storm' || !Array.isArray(all)) continue;
    if (typeof amplified === 'string') add(amplified, Number(askedAs));
    for (const name of all.map(String)) {
      if (typeof amplified !== 'string' || !name.startsWith(`${amplified}.`)) add(name);
    }
  }
  return [...names.values()];
}
