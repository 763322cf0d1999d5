import { join } from 'node:path';
import { refusedCalls, type SystemCall, unavailable } from 'bpf-napi';
import { readText } from './procfs/read.ts';

/** What stands in front of the kernel and refuses a system call, in the words of an operator; undefined where nothing does. */
export function refusalOf(call: SystemCall, proc = '/proc'): string | undefined {
  if (unavailable() !== undefined || !refusedCalls().includes(call)) return undefined;
  return describeRefusal(call, readText(join(proc, 'self/status')) ?? '');
}

/** @param status man 5 proc, /proc/pid/status */
export function describeRefusal(call: SystemCall, status: string): string {
  return /^Seccomp:\s+2$/m.test(status)
    ? `a filter of system calls (seccomp) refuses ${call}: give the container manifests/seccomp/netsonde.json, or Unconfined`
    : `a security module (AppArmor, SELinux) refuses ${call}`;
}
