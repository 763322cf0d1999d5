import { nearest } from '#config/faults.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { PROBE_ALIASES, PROBES } from '#probes/index.ts';

/** Probes of any version of KubeSkoop that have no counterpart here, and what to use instead. */
const WITHOUT_COUNTERPART: ReadonlyMap<string, string> = new Map([
  [
    'flow',
    'there is no probe for flows yet: bytes and packets of each Pod are in `netdev`; who talks to whom is only in events (`peers: cluster`)',
  ],
  ['sched', 'KubeSkoop itself shows nothing with it: the time that data waits for its process is in `socketlatency`'],
  ['info', 'KubeSkoop itself no longer has it: the Pods of a node are in `netsonde_entities` and on /api/v1/entities'],
]);

/** Returns our probe for a name of KubeSkoop's, or the reason why there is none. */
export function counterpartOf(name: string): AnyProbe | string {
  const ours = PROBE_ALIASES.get(name) ?? name;
  const probe = PROBES.find((candidate) => candidate.name === ours);
  if (probe !== undefined) return probe;
  const why = WITHOUT_COUNTERPART.get(name);
  if (why !== undefined) return why;
  const guess = nearest(name, [...PROBES.map((candidate) => candidate.name), ...PROBE_ALIASES.keys()]);
  return `neither KubeSkoop nor netsonde has such a probe${guess === undefined ? '' : ` (did you mean ${guess}?)`}`;
}

/** Returns our option for an argument of a probe of KubeSkoop's, whose case is ignored. */
export function optionFor(probe: string, argument: string): string | undefined {
  return OPTIONS.get(`${probe} ${argument.toLowerCase()}`);
}

const OPTIONS: ReadonlyMap<string, string> = new Map([
  ['packetloss enablestack', 'stack'],
  ['softirq softirq-types', 'vectors'],
]);

/** Options for which KubeSkoop's default differs from ours. */
export const DEFAULTS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  softirq: { vectors: ['net_rx'] },
};

/** Histograms keep the buckets that correspond to KubeSkoop's counts: values slower than one of its two bounds. */
export const BUCKETS: Readonly<Record<string, Readonly<Record<'from' | 'to', string>>>> = {
  socketlatency: { from: '1ms', to: '128ms' },
  kernellatency: { from: '8ms', to: '16ms' },
  netiftxlatency: { from: '128ms', to: '256ms' },
  softirq: { from: '8ms', to: '128ms' },
  virtcmdlatency: { from: '8ms', to: '128ms' },
};

/** Events whose meaning differs from KubeSkoop's of the same probe. */
export const OTHER_EVENTS: ReadonlyMap<string, string> = new Map([
  [
    'conntrack',
    'an event is sent when the table is nearly full or takes no more entries, not for each change of an entry',
  ],
]);
