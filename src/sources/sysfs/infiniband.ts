import { join } from 'node:path';
import type { Counter } from '#core/counter.ts';
import type { SourceErrors } from '../errors.ts';
import { parseCounter } from '../procfs/number.ts';
import { listDirectory, readText } from '../procfs/read.ts';

/**
 * Reads RDMA devices from sysfs (kernel: Documentation/ABI/stable/sysfs-class-infiniband;
 * drivers/infiniband/core/sysfs.c). Each port has a directory `class/infiniband/<device>/ports/<port>` with one file
 * per counter. `counters` contains the counters defined by the InfiniBand specification, and `hw_counters` those
 * defined by the driver.
 *
 * The content of sysfs depends on the network namespace in which it was mounted. If this is not the node's namespace,
 * devices are missing or lack `hw_counters`.
 */

const CLASS = 'class/infiniband';
/**
 * The driver's counters come last so that they take precedence. They have 64 bits, while counters of the specification
 * saturate at a maximum as low as 255.
 */
const GROUPS = ['counters', 'hw_counters'];
/** A file in `hw_counters` that is not a counter: the number of milliseconds for which the kernel caches the values. */
const LIFESPAN = 'lifespan';
/** Prefix of the text that the kernel prints for a counter that the device does not have: `N/A (no PMA)`. */
const NOT_AVAILABLE = 'N/A';

export interface PortCounters {
  /** Values by name; undefined if the counter exists but could not be read. */
  readonly values: ReadonlyMap<string, Counter | undefined>;
  /** Files that were skipped because they were not requested. Each read is a command to the device's firmware. */
  readonly others: readonly string[];
}

export function rdmaDevices(sys: string): string[] {
  return listDirectory(join(sys, CLASS));
}

export function rdmaPorts(sys: string, device: string): string[] {
  return listDirectory(join(sys, CLASS, device, 'ports'));
}

/** Reads the requested counters of a port. Counts an error for each counter that cannot be read. */
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

/**
 * Reads a counter; returns undefined if it is gone or the device does not have it.
 * @throws if the file cannot be read or contains no number
 */
function readPortCounter(path: string): Counter | undefined {
  const text = readText(path);
  if (text === undefined || text.startsWith(NOT_AVAILABLE)) return undefined;
  const value = parsePortCounter(text);
  if (value === undefined) throw new Error(`${path}: not a counter: ${JSON.stringify(text.slice(0, 40))}`);
  return value;
}

/** Parses the file of a counter, which must contain a decimal number and a newline. */
export function parsePortCounter(text: string): Counter | undefined {
  return /^\d+\n$/.test(text) ? parseCounter(text.trimEnd()) : undefined;
}
