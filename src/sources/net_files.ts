import { statSync } from 'node:fs';
import { join } from 'node:path';
import { BpfError, netnsCookie, withNetns } from 'bpf-napi';
import { toCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Malformed, SourceErrors } from './errors.ts';
import type { NetnsEntry, NetnsIndex } from './netns.ts';
import { missingCapabilities } from './procfs/capabilities.ts';
import { readText } from './procfs/read.ts';

const ENOPROTOOPT = 92;

const EACCES = 13;
/**
 * Errors that mean that the namespace is gone: ENOENT, ESRCH, and EINVAL, which occurs if `ip netns del` has unmounted
 * the namespace but not yet removed the file.
 */
const GONE = [2, 3, 22];

/** Ways to enter a namespace: the /proc directory of a process in it, and the path where it is mounted. */
interface Place {
  readonly process?: string;
  readonly mount?: string;
}

/** Returns the errno of a failure to enter a namespace. @throws the error if it is any other */
function entryError(error: unknown): number {
  if (error instanceof BpfError && error.code === 'NETNS') return error.errno;
  throw error;
}

/** Returns whether this thread is in the namespace; true if the kernel does not provide the cookie (before 5.14). */
function isIn(id: NetnsId): boolean {
  try {
    return toCounter(netnsCookie()) === id;
  } catch (error) {
    if (error instanceof BpfError && error.errno === ENOPROTOOPT) return true;
    throw error;
  }
}

/**
 * Reads files of /proc/<pid>/net in a namespace, either through a process in the namespace or by entering it. Keeps no
 * descriptor open, because this would keep the namespace of a dead Pod alive.
 */
export class NetFiles {
  readonly #proc: string;
  readonly #netns: NetnsIndex;
  readonly #errors: SourceErrors;
  /** Inode number of the agent's own namespace. */
  #home: number | undefined;
  /** Ways to enter each namespace. They are determined and checked once per cycle. */
  readonly #places = new WeakMap<Cycle, Map<NetnsId, Place>>();

  constructor(proc: string, netns: NetnsIndex, errors: SourceErrors) {
    this.#proc = proc;
    this.#netns = netns;
    this.#errors = errors;
  }

  /**
   * Returns the text of `/proc/<pid>/<path>` in the namespace; undefined if the namespace is gone or the file cannot be
   * read. Counts read errors.
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

  /** Reads a file like `read`, and parses it. Counts parts that the parser skips. */
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
   * Calls a synchronous function while this thread is in the namespace; returns undefined if the namespace is gone.
   * @throws {BpfError} NETNS if the agent is in another namespace and lacks CAP_SYS_ADMIN or CAP_SYS_PTRACE
   */
  inside<T>(entry: NetnsEntry, cycle: Cycle, call: () => T): T | undefined {
    return this.#isHome(entry) ? call() : this.enter(entry, cycle, call);
  }

  /**
   * Whether the agent is in the namespace, or has the capability to enter other namespaces. Entering may still fail.
   */
  mayEnter(entry: NetnsEntry): boolean {
    return this.#isHome(entry) || missingCapabilities(['CAP_SYS_ADMIN'], this.#proc).length === 0;
  }

  #isHome(entry: NetnsEntry): boolean {
    this.#home ??= statSync(join(this.#proc, 'thread-self/ns/net'), { throwIfNoEntry: false })?.ino ?? 0;
    return entry.inum === this.#home;
  }

  /** Like `inside`, but enters the namespace even if it is the agent's own, which requires CAP_SYS_ADMIN. */
  enter<T>(entry: NetnsEntry, cycle: Cycle, call: () => T): T | undefined {
    let refused: unknown;
    for (const path of this.#waysInto(entry, cycle)) {
      try {
        // Since the check, the process may have moved to another namespace, or another namespace may have been mounted.
        return withNetns(path, () => (isIn(entry.id) ? call() : undefined));
      } catch (error) {
        // CAP_SYS_PTRACE is needed to enter through a process of another user, but not to enter through a mount.
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
