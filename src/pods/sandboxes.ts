import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { Paths } from '#core/paths.ts';
import { listDirectory, readText } from '#sources/procfs/read.ts';
import { type ContainerRef, isOwnerName, parseCgroup } from './cgroup.ts';
import { foldersIn } from './cgroup_tree.ts';

/** Number of cgroups that are searched in a hierarchy; a node of 250 Pods has some 1,500. */
const SEARCHED_MAX = 20_000;
/**
 * Kata runs processes that are not virtual CPUs of a Pod's machine in `/kata_overhead/<sandbox>`, beside the Pods (its documentation,
 * "Host cgroup management").
 */
const OVERHEAD = /\/kata_overhead\//;

/** A container that has no process in a Pod's cgroup. */
export interface LoneContainer {
  readonly containerId: string;
  /** Number of one of its processes. */
  readonly pid: number;
}

/** Finds the Pods of virtual machines that Kata runs: the cgroup of a sandbox's Pod has a folder with the same ID. */
export class Sandboxes {
  readonly #paths: Paths;

  constructor(paths: Paths) {
    this.#paths = paths;
  }

  /** Returns the UIDs of Pods by container ID, for the containers that have one. */
  async podsOf(containers: readonly LoneContainer[], cycle: Cycle): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    const wanted = new Set(
      containers
        .filter(({ pid }) => OVERHEAD.test(readText(join(this.#paths.proc, String(pid), 'cgroup')) ?? ''))
        .map(({ containerId }) => containerId),
    );
    for (const mount of wanted.size === 0 ? [] : this.#mounts()) await this.#search(mount, wanted, found, cycle);
    return found;
  }

  /** Lists the v2 hierarchy, or one folder for each of v1. */
  #mounts(): string[] {
    const { cgroup } = this.#paths;
    const isMount = (folder: string) => existsSync(join(folder, 'cgroup.procs'));
    return isMount(cgroup)
      ? [cgroup]
      : listDirectory(cgroup)
          .map((name) => join(cgroup, name))
          .filter(isMount);
  }

  async #search(mount: string, wanted: Set<string>, found: Map<string, string>, cycle: Cycle): Promise<void> {
    const folders = [mount];
    for (const folder of folders) {
      if (wanted.size === 0) return;
      for (const path of foldersIn(folder)) {
        const ref = isOwnerName(basename(path)) ? parseCgroup(`0::${path.slice(mount.length)}`) : undefined;
        if (isPodOf(ref, wanted)) found.set(ref.containerId, ref.podUid);
        // Cgroups that a container makes inside itself prove nothing.
        else if (ref?.containerId === undefined && folders.length < SEARCHED_MAX) folders.push(path);
      }
      await cycle.pause();
    }
  }
}

/** Removes the container from those that are wanted. */
function isPodOf(ref: ContainerRef | undefined, wanted: Set<string>): ref is Required<ContainerRef> {
  const { podUid, containerId, within } = ref ?? {};
  return containerId !== undefined && podUid !== undefined && within === undefined && wanted.delete(containerId);
}
