import { join } from 'node:path';
import { readText } from './read.ts';

/** CPUs that the kernel reserved memory for, and CPUs that run now. Ascending, with gaps where the machine has some. */
export interface Cpus {
  possible(): readonly number[];
  online(): readonly number[];
}

/** NR_CPUS of the largest kernels that can be built (arch/x86/Kconfig, arch/powerpc/Kconfig). */
const CPUS_MAX = 8192;

/** Reads the CPUs from sysfs (kernel: Documentation/admin-guide/cputopology.rst). @throws where a file cannot be read or holds no list */
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

/** Parses a CPU list of sysfs, `0-3,8`; returns undefined where it is not as the kernel writes it: ascending, with at least one CPU. */
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
