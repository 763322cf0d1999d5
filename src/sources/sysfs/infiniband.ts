import { join } from 'node:path';
import type { Counter } from '#core/counter.ts';
import type { SourceErrors } from '../errors.ts';
import { parseCounter } from '../procfs/number.ts';
import { listDirectory, readText } from '../procfs/read.ts';

/**
 * RDMA devices in sysfs (kernel: Documentation/ABI/stable/sysfs-class-infiniband; drivers/infiniband/core/sysfs.c): below
 * `class/infiniband/<device>/ports/<port>` each counter has a file, in `counters` those of the InfiniBand specification, in
 * `hw_counters` the driver's own.
 *
 * The place where a sysfs was mounted decides what it shows: if it was mounted in another network namespace than the node's, it shows
 * a device without its `hw_counters`, or not at all.
 */

const CLASS = 'class/infiniband';
/** The driver's own come last: they have 64 bits, while those of the specification stop at their highest value, as early as 255. */
const GROUPS = ['counters', 'hw_counters'];
/** File among the driver's counters that is not a counter: the milliseconds for which the kernel keeps their values. */
const LIFESPAN = 'lifespan';
/** Text that the kernel prints for a counter that the device does not have: `N/A (no PMA)`. */
const NOT_AVAILABLE = 'N/A';

export interface PortCounters {
  /** Undefined means that the counter exists and could not be read. */
  readonly values: ReadonlyMap<string, Counter | undefined>;
  /** Files that were not asked for, and so not read: each read is a command to the device's firmware. */
  readonly others: readonly string[];
}

export function rdmaDevices(sys: string): string[] {
  return listDirectory(join(sys, CLASS));
}

export function rdmaPorts(sys: string, device: string): string[] {
  return listDirectory(join(sys, CLASS, device, 'ports'));
}

/** Reads the counters of a port that are asked for by name. A counter that cannot be read is counted as an error. */
export function readPortCounters(
  sys: string,
  device: string,
  port: string,
  isAskedFor: (name: string) => boolean,
  errors: SourceErrors,
): PortCounters {
  const values = new Map<string, Counter | undefined>();
  const others: string[] = [];
  for (const group of GROUPS) {
    const directory = join(sys, CLASS, device, 'ports', port, group);
    for (const name of listDirectory(directory)) {
      if (name === LIFESPAN) continue;
      if (!isAskedFor(name)) {
        others.push(name);
        continue;
      }
      try {
        const value = readPortCounter(join(directory, name));
        if (value !== undefined) values.set(name, value);
      } catch (error) {
        values.set(name, undefined);
        errors.count('sysfs', `infiniband/${group}`, error);
      }
    }
  }
  return { values, others };
}

/** Returns undefined where it is gone or the device has none. @throws where it cannot be read or is not a number */
function readPortCounter(path: string): Counter | undefined {
  const text = readText(path);
  if (text === undefined || text.startsWith(NOT_AVAILABLE)) return undefined;
  const value = parsePortCounter(text);
  if (value === undefined) throw new Error(`${path}: no counter: ${JSON.stringify(text.slice(0, 40))}`);
  return value;
}

/** Parses the file of one counter: a decimal number and the end of its line, nothing else. */
export function parsePortCounter(text: string): Counter | undefined {
  return /^\d+\n$/.test(text) ? parseCounter(text.trimEnd()) : undefined;
}
