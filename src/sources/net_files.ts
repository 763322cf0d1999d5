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
/** ENOENT, ESRCH: gone. EINVAL: `ip netns del` has unmounted the namespace and not removed the file yet. */
const GONE = [2, 3, 22];

/** A way into a namespace: a process's directory in /proc, or the path of a mount. */
interface Place {
  readonly process?: string;
  readonly mount?: string;
}

/** Returns the error number where a namespace could not be entered. @throws any other error */
function entryError(error: unknown): number {
  if (error instanceof BpfError && error.code === 'NETNS') return error.errno;
  throw error;
}

/** Whether this thread is in the namespace. Kernels before 5.14 do not report it; there it is assumed. */
function isIn(id: NetnsId): boolean {
  try {
    return toCounter(netnsCookie()) === id;
  } catch (error) {
    if (error instanceof BpfError && error.errno === ENOPROTOOPT) return true;
    throw error;
  }
}

/**
 * Reads files of /proc/<pid>/net for a namespace: through a process that is in it, or, where there is none, by entering the namespace.
 * No descriptor is kept open: it would keep a dead Pod's namespace alive.
 */
export class NetFiles {
  readonly #proc: string;
  readonly #netns: NetnsIndex;
  readonly #errors: SourceErrors;
  /** Inode number of the namespace that the agent is in. */
  #home: number | undefined;
  /** Ways into the namespaces, each looked up and checked once a cycle. */
  readonly #places = new WeakMap<Cycle, Map<NetnsId, Place>>();

  constructor(proc: string, netns: NetnsIndex, errors: SourceErrors) {
    this.#proc = proc;
    this.#netns = netns;
    this.#errors = errors;
  }

  /** Returns the text of `/proc/<pid>/<path>` as the namespace shows it; undefined where it is gone or cannot be read, which is counted. */
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

  /** Reads the same and parses it; pieces that the parser leaves out are counted. */
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
   * Calls a synchronous function with this thread in the namespace; returns undefined where there is no way in any more.
   * @throws {BpfError} NETNS where a capability is missing (CAP_SYS_ADMIN; CAP_SYS_PTRACE), and the agent is in another one
   */
  inside<T>(entry: NetnsEntry, cycle: Cycle, call: () => T): T | undefined {
    this.#home ??= statSync(join(this.#proc, 'thread-self/ns/net'), { throwIfNoEntry: false })?.ino ?? 0;
    return entry.inum === this.#home ? call() : this.enter(entry, cycle, call);
  }

  /** Does the same, but requires the capability for the agent's own namespace, too. */
  enter<T>(entry: NetnsEntry, cycle: Cycle, call: () => T): T | undefined {
    let refused: unknown;
    for (const path of this.#waysInto(entry, cycle)) {
      try {
        // Since the last look, a mount or a process may have moved to another namespace.
        return withNetns(path, () => (isIn(entry.id) ? call() : undefined));
      } catch (error) {
        // Entering through a process of another user takes CAP_SYS_PTRACE; through a mount it does not.
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
