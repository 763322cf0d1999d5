import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { Malformed } from '#sources/errors.ts';
import { wholeLines } from '#sources/procfs/lines.ts';
import { isGone, readText } from '#sources/procfs/read.ts';
import { type CgroupPath, isOwnerName } from './cgroup.ts';

/** Number of cgroups that are searched in a hierarchy; a node of 250 Pods has some 1,500. */
const SEARCHED_MAX = 20_000;
const SEARCH_EVERY_MS = 10_000;
/** Number of cgroups below one Pod: its containers, and cgroups that they make for themselves. */
const BELOW_MAX = 1_000;

/**
 * The cgroup file systems of the machine: v2 mounted on the folder itself, or a folder with one mount for each hierarchy of v1, and v2
 * on `unified` (man 7 cgroups).
 */
export class CgroupTree {
  readonly #root: string;
  readonly #malformed: Malformed;
  /** Results of the last search of a hierarchy: folders of Pods and containers, by name. */
  readonly #found = new Map<string, { readonly byName: ReadonlyMap<string, string>; readonly ms: number }>();

  /** Calls `malformed` with each line of a process list that is not a process number. */
  constructor(root: string, malformed: Malformed) {
    this.#root = root;
    this.#malformed = malformed;
  }

  /**
   * Returns the folder of the first cgroup that exists. A path that leads out of our cgroup namespace has an unknown start, so its last
   * part is searched for, once for all new ones.
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
   * Returns the processes in a cgroup and in all below it, never threads; undefined where it is gone.
   * @throws where it cannot be read, or there are too many cgroups below it
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

/** Zero stands for a process of a PID namespace that we cannot see: our /proc does not have it either. */
function readProcs(folder: string, malformed: Malformed): number[] {
  try {
    return wholeLines(readText(join(folder, 'cgroup.procs')) ?? '', malformed)
      .filter((line) => /^[1-9]\d*$/.test(line))
      .map(Number);
  } catch (error) {
    // A threaded cgroup lists no processes: processes are listed in the cgroup that their threads belong to (man 7 cgroups).
    if (isRemoved(error) || (error as NodeJS.ErrnoException).code === 'EOPNOTSUPP') return [];
    throw error;
  }
}

/** Returns the cgroups directly below one; none where it is gone. */
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

/** ENODEV: the cgroup was removed after the file was opened. */
function isRemoved(error: unknown): boolean {
  return isGone(error) || (error as NodeJS.ErrnoException).code === 'ENODEV';
}
