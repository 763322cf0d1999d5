import type { ProbeReport } from '#api/probes.ts';

const READERS = [
  ['http', 'HTTP'],
  ['dns', 'DNS'],
] as const;

/** Returns what has to be done so that requests are counted, one sentence for each probe that does not count them. */
export function whatToEnable(probes: readonly Pick<ProbeReport, 'name' | 'state' | 'reason'>[]): string[] {
  return READERS.flatMap(([name, protocol]) => {
    const { state = 'stopped', reason = '' } = probes.find((probe) => probe.name === name) ?? {};
    if (state === 'running' || state === 'degraded') return [];
    if (state === 'stopped') {
      return [
        `Requests of ${protocol} are not counted: the probe ${name} is off. Switch it on in the configuration: probes: { ${name}: { enabled: true } }. It needs the right NET_ADMIN (component packets).`,
      ];
    }
    const why = reason === '' ? '' : `: ${reason}`;
    return [`Requests of ${protocol} are not counted: the probe ${name} is ${state}${why}.`];
  });
}
