import { loadScenarios } from '../../scenarios/all.ts';
import type { CheckGroup } from '../check.ts';
import { agent } from './agent.ts';
import { barriers } from './barriers.ts';
import { beside } from './beside.ts';
import { capabilities } from './capabilities.ts';
import { capture } from './capture.ts';
import { changesChecks } from './changes.ts';
import { cpus } from './cpus.ts';
import { devices } from './devices.ts';
import { flowNat } from './flow_nat.ts';
import { flows } from './flows.ts';
import { ipvs } from './ipvs.ts';
import { kernellatency } from './kernellatency.ts';
import { latency } from './latency.ts';
import { lifecycle } from './lifecycle.ts';
import { listeners } from './listeners.ts';
import { loads } from './loads.ts';
import { matrix } from './matrix.ts';
import { orderly } from './orderly.ts';
import { packetloss } from './packetloss.ts';
import { rdma } from './rdma.ts';
import { socketlatency } from './socketlatency.ts';
import { tcpreset } from './tcpreset.ts';
import { tcpretrans } from './tcpretrans.ts';
import { tunnels } from './tunnels.ts';
import { virtcmdlatency } from './virtcmdlatency.ts';

/**
 * Loads all groups in the order in which they run. The first group must run before any modules are loaded, and the last
 * one needs all modules.
 */
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
  tunnels,
  capture,
  orderly,
  tcpreset,
  tcpretrans,
  listeners,
  latency,
  socketlatency,
  kernellatency,
  virtcmdlatency,
  lifecycle,
  flows,
  barriers,
  beside,
  flowNat,
  ipvs,
  rdma,
  loads,
];

/**
 * Groups that `npm test` runs in a guest: those that this machine's kernel may not support, and a few others. The list
 * is short because a check takes 25 times as much CPU time in a guest as on the host. `npm run test:kernels` runs all
 * groups.
 */
export const TESTED_GROUPS: readonly CheckGroup[] = [agent, changesChecks, virtcmdlatency, ipvs, rdma, matrix];
