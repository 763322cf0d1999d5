import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { Paths } from '#core/paths.ts';
import { listDirectory, readText } from '#sources/procfs/read.ts';
import { type ContainerRef, isOwnerName, parseCgroup } from './cgroup.ts';
import { foldersIn } from './cgroup_tree.ts';

/** Maximum number of cgroups to search per hierarchy; a node with 250 Pods has about 1,500. */
const SEARCHED_MAX = 20_000;
/**
 * Cgroup of the Kata processes that run outside of the Pod's cgroup, `/kata_overhead/<sandbox>` (Kata docs, "Host
 * cgroup management").
 */
const OVERHEAD = /\/kata_overhead\//;

/** A container none of whose processes is in the cgroup of a Pod. */
export interface LoneContainer {
  readonly containerId: string;
  /** ID of one of its processes. */
  readonly pid: number;
}

/**
 * Finds the Pods of Kata virtual machines. The cgroup of such a Pod contains a cgroup that is named after the sandbox
 * ID.
 */
export class Sandboxes {
  readonly #paths: Paths;

  constructor(paths: Paths) {
    this.#paths = paths;
  }

  /** Returns the UIDs of the Pods by container ID. The result does not contain containers without a Pod. */
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

  /** Returns the cgroup v2 mount point or, if there is none, the mount points of all v1 hierarchies. */
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
        // Cgroups below the cgroup of a container are skipped, because its processes may have created them with any
        // name.
        else if (ref?.containerId === undefined && folders.length < SEARCHED_MAX) folders.push(path);
      }
      await cycle.pause();
    }
  }
}

/** Whether the cgroup belongs to a Pod with a wanted container. If so, removes the container from `wanted`. */
function isPodOf(ref: ContainerRef | undefined, wanted: Set<string>): ref is Required<ContainerRef> {
  const { podUid, containerId, within } = ref ?? {};
  return containerId !== undefined && podUid !== undefined && within === undefined && wanted.delete(containerId);
}
