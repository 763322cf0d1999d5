import { addCounters, type Counter } from '#core/counter.ts';
import { type NetnsId, UNLISTED } from '#core/netns.ts';
import { defineRetained } from '#probe/retained.ts';

/** Unanswered queries of clients since the agent started, by subject and server. */
export const SILENT_SERVERS = defineRetained<Map<NetnsId, Map<string, Counter>>>(() => new Map());

/** Maximum number of servers that are remembered for a subject. Queries to further servers are added up as `other`. */
const SERVERS_MAX = 64;
export const OTHER_SERVERS = 'other';

type Totals = Map<NetnsId, Map<string, Counter>>;

/** Adds a number of unanswered queries to a server. */
export function addSilent(totals: Totals, subject: NetnsId, server: string, queries: number): void {
  const ofSubject = totals.get(subject) ?? new Map<string, Counter>();
  totals.set(subject, ofSubject);
  const key = ofSubject.has(server) || ofSubject.size < SERVERS_MAX ? server : OTHER_SERVERS;
  ofSubject.set(key, addCounters(ofSubject.get(key) ?? 0, queries));
}

/** Removes the totals of subjects that no longer exist. */
export function forgetSilent(totals: Totals, isGone: (subject: NetnsId) => boolean): void {
  for (const subject of totals.keys()) if (subject !== UNLISTED && isGone(subject)) totals.delete(subject);
}
