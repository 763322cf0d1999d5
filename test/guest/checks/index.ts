import { loadScenarios } from '../../scenarios/all.ts';
import type { CheckGroup } from '../check.ts';
import { agent } from './agent.ts';
import { capabilities } from './capabilities.ts';
import { changesChecks } from './changes.ts';
import { cpus } from './cpus.ts';
import { devices } from './devices.ts';
import { ipvs } from './ipvs.ts';
import { kernellatency } from './kernellatency.ts';
import { latency } from './latency.ts';
import { lifecycle } from './lifecycle.ts';
import { listeners } from './listeners.ts';
import { matrix } from './matrix.ts';
import { orderly } from './orderly.ts';
import { packetloss } from './packetloss.ts';
import { rdma } from './rdma.ts';
import { socketlatency } from './socketlatency.ts';
import { tcpreset } from './tcpreset.ts';
import { tcpretrans } from './tcpretrans.ts';
import { virtcmdlatency } from './virtcmdlatency.ts';

/** Loads all groups in the order in which they run. The first group needs a kernel without loaded modules, and the last one needs all modules. */
export async function loadGroups(): Promise<readonly CheckGroup[]> {
  return [...GROUPS, ...(await loadScenarios()), matrix];
}

const GROUPS: readonly CheckGroup[] = [
  agent,
  capabilities,
  cpus,
  devices,
  changesChecks,
  packetloss,
  orderly,
  tcpreset,
  tcpretrans,
  listeners,
  latency,
  socketlatency,
  kernellatency,
  virtcmdlatency,
  lifecycle,
  ipvs,
  rdma,
];

/**
 * Groups that `npm test` runs in a guest: groups that this machine's kernel may not support, and a few other groups. In
 * a guest, a check takes 25 times as much CPU time as on the host. `npm run test:kernels` runs all groups.
 */
export const TESTED_GROUPS: readonly CheckGroup[] = [agent, changesChecks, virtcmdlatency, ipvs, rdma, matrix];
