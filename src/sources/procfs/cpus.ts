import { join } from 'node:path';
import { readText } from './read.ts';

/** Possible and online CPUs in ascending order. The numbers may have gaps. */
export interface Cpus {
  possible(): readonly number[];
  online(): readonly number[];
}

/** Largest possible value of NR_CPUS (arch/x86/Kconfig, arch/powerpc/Kconfig). */
const CPUS_MAX = 8192;

/**
 * Reads the CPUs from sysfs (kernel: Documentation/admin-guide/cputopology.rst).
 * @throws if a file cannot be read or does not contain a CPU list
 */
export function cpusOf(sys: string): Cpus {
  const list = (name: string) => {
    const path = join(sys, 'devices/system/cpu', name);
    const cpus = parseCpuList(readText(path) ?? '');
    if (cpus === undefined) throw new Error(`${path}: no list of CPUs`);
    return cpus;
  };
  const possible = list('possible');
  return { possible: () => possible, online: () => list('online') };
}

/**
 * Parses a CPU list from sysfs, such as `0-3,8`; returns undefined if it is malformed, empty or not in ascending order.
 */
export function parseCpuList(text: string): number[] | undefined {
  const cpus: number[] = [];
  for (const part of text.trim().split(',')) {
    const range = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part);
    if (range === null) return undefined;
    const first = Number(range[1]);
    const last = Number(range[2] ?? range[1]);
    if (first <= (cpus.at(-1) ?? -1) || last < first || last >= CPUS_MAX) return undefined;
    for (let cpu = first; cpu <= last; cpu++) cpus.push(cpu);
  }
  return cpus;
}
