import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { Malformed } from '#sources/errors.ts';
import { wholeLines } from '#sources/procfs/lines.ts';
import { isGone, readText } from '#sources/procfs/read.ts';
import { type CgroupPath, isOwnerName } from './cgroup.ts';

/** Maximum number of cgroups to search per hierarchy; a node with 250 Pods has about 1,500. */
const SEARCHED_MAX = 20_000;
const SEARCH_EVERY_MS = 10_000;
/** Maximum number of cgroups within a Pod. It includes the cgroups that its containers create. */
const BELOW_MAX = 1_000;

/**
 * The cgroup file systems of the machine: either v2 mounted on the directory itself, or a directory for each v1
 * hierarchy, with v2 in `unified` (man 7 cgroups).
 */
export class CgroupTree {
  readonly #root: string;
  readonly #malformed: Malformed;
  /** For each mount, the directories of Pods and containers by name, as of the last search. */
  readonly #found = new Map<string, { readonly byName: ReadonlyMap<string, string>; readonly ms: number }>();

  /** @param malformed called with each line of a process list that is not a process ID */
  constructor(root: string, malformed: Malformed) {
    this.#root = root;
    this.#malformed = malformed;
  }

  /**
   * Returns the directory of the first cgroup that exists. A path that leads out of the agent's cgroup namespace has an
   * unknown beginning, so if no path can be used directly, each hierarchy is searched for the last component of its
   * path. Lookups share the results of a search.
   */
  async find(paths: readonly CgroupPath[], cycle: Cycle): Promise<string | undefined> {
    const places = paths.flatMap(({ hierarchy, path }) => this.#mountsOf(hierarchy).map((mount) => ({ mount, path })));
    for (const { mount, path } of places) {
      if (!path.startsWith('/..') && isCgroup(join(mount, path))) return join(mount, path);
    }
    for (const { mount, path } of places) {
      const folder = (await this.#search(mount, cycle)).get(basename(path));
      if (folder !== undefined && isCgroup(folder)) return folder;
    }
    return undefined;
  }

  /**
   * Returns the IDs of the processes in a cgroup and its descendants; undefined if the cgroup does not exist.
   * @throws if it cannot be read, or has too many descendants
   */
  async processes(folder: string, cycle: Cycle): Promise<Set<number> | undefined> {
    if (!isCgroup(folder)) return undefined;
    const pids = new Set<number>();
    const folders = [folder];
    for (const next of folders) {
      if (folders.length > BELOW_MAX) throw new Error(`${folder}: more than ${BELOW_MAX} cgroups`);
      for (const pid of readProcs(next, this.#malformed)) pids.add(pid);
      folders.push(...foldersIn(next));
      await cycle.pause();
    }
    return pids;
  }

  /** Mount point of cgroup v2; undefined if it is not mounted. */
  get unified(): string | undefined {
    return this.#mountsOf('')[0];
  }

  #mountsOf(hierarchy: string): string[] {
    const names = hierarchy === '' ? ['unified', ''] : [hierarchy.replace(/^name=/, ''), ...hierarchy.split(',')];
    return names.map((name) => join(this.#root, name)).filter(isCgroup);
  }

  async #search(mount: string, cycle: Cycle): Promise<ReadonlyMap<string, string>> {
    const last = this.#found.get(mount);
    if (last !== undefined && performance.now() - last.ms < SEARCH_EVERY_MS) return last.byName;
    const byName = new Map<string, string>();
    const folders = [mount];
    for (const next of folders) {
      for (const folder of foldersIn(next)) {
        const name = basename(folder);
        if (isOwnerName(name) && !byName.has(name)) byName.set(name, folder);
        if (folders.length < SEARCHED_MAX) folders.push(folder);
      }
      await cycle.pause();
    }
    this.#found.set(mount, { byName, ms: performance.now() });
    return byName;
  }
}

function isCgroup(folder: string): boolean {
  return existsSync(join(folder, 'cgroup.procs'));
}

/**
 * Returns the processes of one cgroup. Skips the entry 0, which stands for a process outside of the agent's PID
 * namespace.
 */
function readProcs(folder: string, malformed: Malformed): number[] {
  try {
    return wholeLines(readText(join(folder, 'cgroup.procs')) ?? '', malformed)
      .filter((line) => /^[1-9]\d*$/.test(line))
      .map(Number);
  } catch (error) {
    // A threaded cgroup does not list its processes. They are listed in its domain cgroup (man 7 cgroups).
    if (isRemoved(error) || (error as NodeJS.ErrnoException).code === 'EOPNOTSUPP') return [];
    throw error;
  }
}

/** Returns the direct children of a cgroup; none if it does not exist. */
export function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(folder, name));
  } catch (error) {
    if (isRemoved(error)) return [];
    throw error;
  }
}

/**
 * Whether the error means that the cgroup was removed. ENODEV is reported if this happened after the file was opened.
 */
function isRemoved(error: unknown): boolean {
  return isGone(error) || (error as NodeJS.ErrnoException).code === 'ENODEV';
}
