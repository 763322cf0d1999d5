import type { CheckGroup } from '../check.ts';
import { agent } from './agent.ts';
import { capabilities } from './capabilities.ts';
import { ipvs } from './ipvs.ts';
import { rdma } from './rdma.ts';
import { tcpreset } from './tcpreset.ts';

/** In this order: the first one needs a kernel into which no module has been loaded. */
export const GROUPS: readonly CheckGroup[] = [agent, capabilities, tcpreset, ipvs, rdma];
