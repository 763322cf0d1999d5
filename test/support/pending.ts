import { PROBES } from '../../src/probes/index.ts';

/** Probes that KubeSkoop's names count on and that the agent does not have yet. */
const PENDING: readonly string[] = ['tcpsummary', 'conntrack', 'ipvs', 'fd', 'io', 'rdma'];

export function isPending(probe: string): boolean {
  return PENDING.includes(probe) && !PROBES.some(({ name }) => name === probe);
}
