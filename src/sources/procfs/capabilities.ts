import { join } from 'node:path';
import { readText } from './read.ts';

/** Numbers of capabilities (man 7 capabilities; kernel: include/uapi/linux/capability.h). */
export const CAP_SYS_PTRACE = 19;

/** Whether this process has the capability in effect: man 5 proc, /proc/<pid>/status, CapEff. */
export function hasCapability(proc: string, capability: number): boolean {
  const effective = /^CapEff:\s+([0-9a-f]{16})$/m.exec(readText(join(proc, 'self/status')) ?? '')?.[1];
  return effective !== undefined && ((BigInt(`0x${effective}`) >> BigInt(capability)) & 1n) === 1n;
}
