import { join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { Paths } from '#core/paths.ts';
import type { SourceErrors } from '#sources/errors.ts';
import type { ProcessIndex, ProcessList } from '#sources/processes.ts';
import { pidNamespaceLevels } from '#sources/procfs/pid_namespace.ts';
import { readText } from '#sources/procfs/read.ts';
import { type CgroupPath, cgroupsOf } from './cgroup.ts';
import { CgroupTree } from './cgroup_tree.ts';
import type { NetnsOwner } from './entity.ts';
import { readNetnsInum, scanProcesses } from './processes.ts';

interface Draft {
  readonly key: string;
  /** Pod UID or container ID; empty if there is none. */
  readonly uid: string;
  readonly owners: NetnsOwner[];
  /** Process IDs of the group; undefined if unknown. */
  pids: readonly number[] | undefined;
}

/**
 * Groups processes by owner. The group of a Pod or container consists of the processes in its cgroup, in any network
 * namespace. The group of any other owner consists of the processes in its namespace that do not belong to a Pod or
 * container.
 */
export class ProcessGroups implements ProcessIndex {
  readonly #paths: Paths;
  readonly #owners: () => readonly NetnsOwner[];
  readonly #errors: SourceErrors;
  readonly #tree: CgroupTree;
  /** Whether the process IDs in cgroup files are the same as in /proc. */
  readonly #isSamePidNamespace: boolean;
  /** Cgroup directories by UID, from the last read. */
  #folders: ReadonlyMap<string, string> = new Map();
  readonly #lists = new WeakMap<Cycle, Promise<ProcessList>>();

  constructor(paths: Paths, owners: () => readonly NetnsOwner[], errors: SourceErrors) {
    this.#paths = paths;
    this.#owners = owners;
    this.#errors = errors;
    this.#tree = new CgroupTree(paths.cgroup, errors.malformed('cgroup', 'cgroup.procs'));
    this.#isSamePidNamespace = (pidNamespaceLevels(paths.proc) ?? 0) === 0;
  }

  list(cycle: Cycle): Promise<ProcessList> {
    let list = this.#lists.get(cycle);
    if (list === undefined) {
      list = this.#read(cycle);
      this.#lists.set(cycle, list);
    }
    return list;
  }

  async #read(cycle: Cycle): Promise<ProcessList> {
    const drafts = draftsOf(this.#owners());
    const claimed = new Set<number>();
    const degraded = await this.#fillFromCgroups(drafts, claimed, cycle);
    const rest = drafts.filter(({ pids }) => pids === undefined);
    if (rest.length > 0) degraded.push(...(await this.#fillFromNamespaces(rest, claimed, cycle)));
    const groups = drafts.flatMap(({ key, owners, pids }) =>
      pids === undefined ? [] : [{ key, netns: owners.map(({ entity }) => entity.netns), pids }],
    );
    return { groups, degraded };
  }

  async #fillFromCgroups(drafts: readonly Draft[], claimed: Set<number>, cycle: Cycle): Promise<string[]> {
    const found: { readonly draft: Draft; readonly folder: string }[] = [];
    let missing = 0;
    for (const draft of drafts) {
      const known = this.#folders.get(draft.uid);
      const paths = known === undefined ? this.#cgroupsOf(draft) : [];
      const folder = known ?? (this.#isSamePidNamespace ? await this.#tree.find(paths, cycle) : undefined);
      if (folder !== undefined) found.push({ draft, folder });
      else if (paths.length > 0) missing++;
    }
    // Inner cgroups come first, so that their processes are not assigned to the group of an outer cgroup.
    found.sort((a, b) => depth(b.folder) - depth(a.folder));
    for (const { draft, folder } of found) draft.pids = claim(await this.#processes(folder, cycle), claimed);
    // Directories that are missing here are searched for again in the next cycle.
    this.#folders = new Map(found.filter(({ draft }) => draft.pids).map(({ draft, folder }) => [draft.uid, folder]));
    if (missing === 0) return [];
    const why = this.#isSamePidNamespace
      ? `are not below ${this.#paths.cgroup}`
      : `number processes differently from ${this.#paths.proc} (hostPID is missing)`;
    const all = drafts.filter(({ uid }) => uid !== '').length;
    return [
      `the cgroups of ${missing} of ${all} Pods and containers ${why}, so the processes in their network namespaces are used instead`,
    ];
  }

  #cgroupsOf({ uid, owners }: Draft): CgroupPath[] {
    if (uid === '') return [];
    for (const pid of owners.flatMap(({ pids }) => pids)) {
      const paths = cgroupsOf(readText(join(this.#paths.proc, String(pid), 'cgroup')) ?? '', uid);
      if (paths.length > 0) return paths;
    }
    return [];
  }

  async #processes(folder: string, cycle: Cycle): Promise<Iterable<number> | undefined> {
    try {
      return await this.#tree.processes(folder, cycle);
    } catch (error) {
      cycle.signal.throwIfAborted();
      this.#errors.count('cgroup', 'cgroup.procs', error);
      return undefined;
    }
  }

  /**
   * Fills the groups from /proc, because processes that started since the last scan have to be included, and the kernel
   * does not list processes by namespace.
   */
  async #fillFromNamespaces(drafts: readonly Draft[], claimed: Set<number>, cycle: Cycle): Promise<string[]> {
    const { proc } = this.#paths;
    const { byInum, unreadable } = await scanProcesses(proc, cycle);
    // Process 1 is always in the node's namespace, even if it cannot be inspected.
    const unknown = unreadable - (readNetnsInum(join(proc, '1')) === 'unreadable' ? 1 : 0);
    if (unknown > 0) {
      return [
        `${unknown} processes of the machine cannot be inspected (CAP_SYS_PTRACE is missing), so processes outside of containers are left out`,
      ];
    }
    for (const draft of drafts) {
      const pids = draft.owners.flatMap(({ entity }) => byInum.get(entity.inum) ?? []);
      draft.pids = claim(pids, claimed);
    }
    return [];
  }
}

function draftsOf(owners: readonly NetnsOwner[]): Draft[] {
  const drafts = new Map<string, Draft>();
  for (const owner of owners) {
    const { kind, uid, netns } = owner.entity;
    if (kind === 'node') continue;
    const key = uid === '' ? `netns ${netns}` : uid;
    const draft = drafts.get(key);
    if (draft === undefined) drafts.set(key, { key, uid, owners: [owner], pids: undefined });
    else draft.owners.push(owner);
  }
  return [...drafts.values()];
}

function depth(folder: string): number {
  return folder.split('/').length;
}

/** Returns the processes that are not in a group yet, and marks them as claimed. */
function claim(pids: Iterable<number> | undefined, claimed: Set<number>): number[] | undefined {
  if (pids === undefined) return undefined;
  const own = [...pids].filter((pid) => !claimed.has(pid));
  for (const pid of own) claimed.add(pid);
  return own;
}
