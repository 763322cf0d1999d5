import type { CheckGroup } from '../check.ts';
import { agent } from './agent.ts';
import { ipvs } from './ipvs.ts';
import { kernellatency } from './kernellatency.ts';
import { rdma } from './rdma.ts';
import { tcpreset } from './tcpreset.ts';
import { virtcmdlatency } from './virtcmdlatency.ts';

/** In this order: the first one needs a kernel into which no module has been loaded. */
export const GROUPS: readonly CheckGroup[] = [agent, tcpreset, kernellatency, virtcmdlatency, ipvs, rdma];
