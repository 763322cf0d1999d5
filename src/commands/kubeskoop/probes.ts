import { nearest } from '#config/faults.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { PROBE_ALIASES, PROBES } from '#probes/index.ts';

/** KubeSkoop's probes, of any version, that have no counterpart in netsonde, with what to use instead. */
const WITHOUT_COUNTERPART: ReadonlyMap<string, string> = new Map([
  ['sched', 'this probe of KubeSkoop shows nothing; the time that data waits for its process is in `socketlatency`'],
  ['info', 'KubeSkoop has removed this probe; the Pods of a node are in `netsonde_entities` and on /api/v1/entities'],
]);

/** Returns the counterpart of a KubeSkoop probe, or the reason why there is none. */
export function counterpartOf(name: string): AnyProbe | string {
  const ours = PROBE_ALIASES.get(name) ?? name;
  const probe = PROBES.find((candidate) => candidate.name === ours);
  if (probe !== undefined) return probe;
  const why = WITHOUT_COUNTERPART.get(name);
  if (why !== undefined) return why;
  const guess = nearest(name, [...PROBES.map((candidate) => candidate.name), ...PROBE_ALIASES.keys()]);
  return `neither KubeSkoop nor netsonde has such a probe${guess === undefined ? '' : ` (did you mean ${guess}?)`}`;
}

/** Returns the option for an argument of a KubeSkoop probe. Arguments are case-insensitive. */
export function optionFor(probe: string, argument: string): string | undefined {
  return OPTIONS.get(`${probe} ${argument.toLowerCase()}`);
}

const OPTIONS: ReadonlyMap<string, string> = new Map([
  ['packetloss enablestack', 'stack'],
  ['softirq softirq-types', 'vectors'],
]);

/** Options whose default differs in KubeSkoop, with KubeSkoop's default. */
export const DEFAULTS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  softirq: { vectors: ['net_rx'] },
};

/** Histogram buckets that are needed to compute KubeSkoop's counts of slow values. */
export const BUCKETS: Readonly<Record<string, Readonly<Record<'from' | 'to', string>>>> = {
  socketlatency: { from: '1ms', to: '128ms' },
  kernellatency: { from: '8ms', to: '16ms' },
  netiftxlatency: { from: '128ms', to: '256ms' },
  softirq: { from: '8ms', to: '128ms' },
  virtcmdlatency: { from: '8ms', to: '128ms' },
};

/** Probes with events that differ in meaning from KubeSkoop's events. */
export const OTHER_EVENTS: ReadonlyMap<string, string> = new Map([
  [
    'conntrack',
    'an event is sent when the table is nearly full or takes no more entries, not for each change of an entry',
  ],
]);
