import { join } from 'node:path';
import { refusedCalls, type SystemCall, unavailable } from 'bpf-napi';
import { readText } from './procfs/read.ts';

/** Explains to operators which seccomp filter or security module blocks a system call; undefined if none does. */
export function refusalOf(call: SystemCall, proc = '/proc'): string | undefined {
  if (unavailable() !== undefined || !refusedCalls().includes(call)) return undefined;
  return describeRefusal(call, readText(join(proc, 'self/status')) ?? '');
}

/**
 * @param status content of /proc/pid/status (man 5 proc)
 */
export function describeRefusal(call: SystemCall, status: string): string {
  return /^Seccomp:\s+2$/m.test(status)
    ? `a filter of system calls (seccomp) refuses ${call}: give the container manifests/seccomp/netsonde.json, or Unconfined`
    : `a security module (AppArmor, SELinux) refuses ${call}`;
}
