import { join } from 'node:path';
import type { Counter } from '#core/counter.ts';
import type { SourceErrors } from '../errors.ts';
import { parseCounter } from '../procfs/number.ts';
import { listDirectory, readText } from '../procfs/read.ts';

/**
 * RDMA devices in sysfs (kernel: Documentation/ABI/stable/sysfs-class-infiniband; drivers/infiniband/core/sysfs.c): below
 * `class/infiniband/<device>/ports/<port>` a file for each counter, in `counters` those of the InfiniBand specification, in
 * `hw_counters` the driver's own.
 *
 * What a sysfs shows is decided where it was mounted: one that was mounted in another network namespace than the node's shows
 * a device without its `hw_counters`, or not at all.
 */

const CLASS = 'class/infiniband';
/** The driver's own come last: they have 64 bits, where one of the specification stops at its highest value, as early as 255. */
const GROUPS = ['counters', 'hw_counters'];
/** Among the counters of the driver, but none: for how many milliseconds the kernel keeps their values. */
const LIFESPAN = 'lifespan';
/** What the kernel prints for a counter that the device does not have: `N/A (no PMA)`. */
const NOT_AVAILABLE = 'N/A';

export interface PortCounters {
  /** Undefined: it is there, and could not be read. */
  readonly values: ReadonlyMap<string, Counter | undefined>;
  /** Files that were not asked for, and not read: each read is a command to the device's firmware. */
  readonly others: readonly string[];
}

export function rdmaDevices(sys: string): string[] {
  return listDirectory(join(sys, CLASS));
}

export function rdmaPorts(sys: string, device: string): string[] {
  return listDirectory(join(sys, CLASS, device, 'ports'));
}

/** Counters of a port that are asked for by name. One that cannot be read is counted as an error. */
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

/** Undefined where it is gone or the device has none. @throws where it cannot be read or is no number */
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
