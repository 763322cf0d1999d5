import { join } from 'node:path';
import { readText } from './read.ts';
import { parseCpuList } from './softnet_stat.ts';

/** Which CPUs the kernel reserved memory for, and which run now. */
export interface Cpus {
  possible(): readonly number[];
  online(): readonly number[];
}

/** From sysfs (kernel: Documentation/admin-guide/cputopology.rst). @throws where the files cannot be read */
export function cpusOf(sys: string): Cpus {
  const list = (name: string) => {
    const path = join(sys, 'devices/system/cpu', name);
    const cpus = parseCpuList(readText(path) ?? '');
    if (cpus.length === 0) throw new Error(`${path}: no list of CPUs`);
    return cpus;
  };
  const possible = list('possible');
  return { possible: () => possible, online: () => list('online') };
}
