import { join } from 'node:path';
import { readText } from './read.ts';

/** Numbers of capabilities (man 7 capabilities; kernel: include/uapi/linux/capability.h). */
const NUMBERS = {
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof NUMBERS;

/**
 * Returns which of the given capabilities are not effective in this process (man 5 proc, /proc/<pid>/status, CapEff).
 */
export function missingCapabilities(capabilities: readonly Capability[], proc = '/proc'): Capability[] {
  const effective = /^CapEff:\s+([0-9a-f]{16})$/m.exec(readText(join(proc, 'self/status')) ?? '')?.[1] ?? '0';
  return capabilities.filter((name) => ((BigInt(`0x${effective}`) >> BigInt(NUMBERS[name])) & 1n) === 0n);
}

/** Returns a text such as `CAP_BPF is missing`; empty if none is missing. */
export function describeMissing(missing: readonly Capability[]): string {
  return missing.length === 0 ? '' : `${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} missing`;
}
