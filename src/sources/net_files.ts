import { statSync } from 'node:fs';
import { join } from 'node:path';
import { BpfError, netnsCookie, withNetns } from 'bpf-napi';
import { toCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Malformed, SourceErrors } from './errors.ts';
import type { NetnsEntry, NetnsIndex } from './netns.ts';
import { readText } from './procfs/read.ts';

const ENOPROTOOPT = 92;

const EACCES = 13;
/**
 * Errors that mean that the namespace is gone: ENOENT and ESRCH, and EINVAL if `ip netns del` has unmounted the
 * namespace but has not yet removed the file.
 */
const GONE = [2, 3, 22];

/** A way to enter a namespace: the /proc directory of a process in it, or the path where it is mounted. */
interface Place {
  readonly process?: string;
  readonly mount?: string;
}

/** Returns the error number if the namespace could not be entered. @throws any other error */
function entryError(error: unknown): number {
  if (error instanceof BpfError && error.code === 'NETNS') return error.errno;
  throw error;
}

/**
 * Returns whether this thread is in the namespace. Kernels before 5.14 do not report the namespace, so it is assumed to
 * be the right one.
 */
function isIn(id: NetnsId): boolean {
  try {
    return toCounter(netnsCookie()) === id;
  } catch (error) {
    if (error instanceof BpfError && error.errno === ENOPROTOOPT) return true;
    throw error;
  }
}

/**
 * Reads files of /proc/<pid>/net in a namespace, either through a process that is in the namespace or by entering it.
 * No descriptor is kept open, because it would keep the namespace of a dead Pod alive.
 */
export class NetFiles {
  readonly #proc: string;
  readonly #netns: NetnsIndex;
  readonly #errors: SourceErrors;
  /** Inode number of the agent's own namespace. */
  #home: number | undefined;
  /** Ways to enter the namespaces, which are looked up and checked once per cycle. */
  readonly #places = new WeakMap<Cycle, Map<NetnsId, Place>>();

  constructor(proc: string, netns: NetnsIndex, errors: SourceErrors) {
    this.#proc = proc;
    this.#netns = netns;
    this.#errors = errors;
  }

  /**
   * Returns the text of `/proc/<pid>/<path>` in the namespace. Returns undefined if the namespace is gone or the file
   * cannot be read. Read errors are counted.
   */
  read(entry: NetnsEntry, path: string, cycle: Cycle): string | undefined {
    const { process } = this.#place(entry, cycle);
    try {
      if (process !== undefined) return readText(join(process, path));
      return this.inside(entry, cycle, () => readText(join(this.#proc, 'thread-self', path)));
    } catch (error) {
      this.#errors.count('procfs', path, error);
      return undefined;
    }
  }

  /** Reads and parses a file like `read`. Parts that the parser skips are counted. */
  parse<T>(
    entry: NetnsEntry,
    path: string,
    cycle: Cycle,
    parser: (text: string, malformed: Malformed) => T,
  ): T | undefined {
    const text = this.read(entry, path, cycle);
    return text === undefined ? undefined : parser(text, this.#errors.malformed('procfs', path));
  }

  /**
   * Calls a synchronous function while this thread is in the namespace. Returns undefined if the namespace can no
   * longer be entered.
   * @throws {BpfError} NETNS if the agent is in another namespace and lacks CAP_SYS_ADMIN or CAP_SYS_PTRACE
   */
  inside<T>(entry: NetnsEntry, cycle: Cycle, call: () => T): T | undefined {
    this.#home ??= statSync(join(this.#proc, 'thread-self/ns/net'), { throwIfNoEntry: false })?.ino ?? 0;
    return entry.inum === this.#home ? call() : this.enter(entry, cycle, call);
  }

  /** Like `inside`, but also enters the agent's own namespace, which requires CAP_SYS_ADMIN. */
  enter<T>(entry: NetnsEntry, cycle: Cycle, call: () => T): T | undefined {
    let refused: unknown;
    for (const path of this.#waysInto(entry, cycle)) {
      try {
        // The mount or process may have moved to another namespace since the check.
        return withNetns(path, () => (isIn(entry.id) ? call() : undefined));
      } catch (error) {
        // Entering through a process of another user needs CAP_SYS_PTRACE; entering through a mount does not.
        if (entryError(error) === EACCES) refused ??= error;
        else if (!GONE.includes(entryError(error))) throw error;
      }
    }
    if (refused !== undefined) throw refused;
    return undefined;
  }

  #waysInto(entry: NetnsEntry, cycle: Cycle): string[] {
    const { process, mount } = this.#place(entry, cycle);
    return [...(process === undefined ? [] : [join(process, 'ns/net')]), ...(mount === undefined ? [] : [mount])];
  }

  #place(entry: NetnsEntry, cycle: Cycle): Place {
    let places = this.#places.get(cycle);
    if (places === undefined) {
      places = new Map();
      this.#places.set(cycle, places);
    }
    let place = places.get(entry.id);
    if (place === undefined) {
      const process = this.#netns.locate(entry);
      const mount = this.#netns.mountOf(entry);
      place = { ...(process === undefined ? {} : { process }), ...(mount === undefined ? {} : { mount }) };
      places.set(entry.id, place);
    }
    return place;
  }
}
