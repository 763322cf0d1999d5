import type { AnyProbe } from '#probe/contract.ts';
import { PROBES } from '#probes/index.ts';

/**
 * Returns all probes, of which the given ones are enabled unless the configuration disables them.
 * @param names names of probes, which may be separated by commas
 * @throws if there is no such probe
 */
export function probesWith(names: readonly string[] = []): readonly AnyProbe[] {
  const enabled = new Set(names.flatMap((text) => text.split(',')));
  for (const name of enabled) {
    if (PROBES.some((probe) => probe.name === name)) continue;
    throw new Error(`--enable ${name}: there is no such probe; \`netsonde probes\` lists them`);
  }
  return PROBES.map((probe) => (enabled.has(probe.name) ? { ...probe, enabledByDefault: true } : probe));
}
