import { type BigIntStats, statSync } from 'node:fs';
import { basename } from 'node:path';
import { type Counter, toCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { type ContainerRef, isHandedOut, isOwnerName, parseCgroup } from './cgroup.ts';
import { foldersIn } from './cgroup_tree.ts';

/** Maximum number of cgroups to search. A node with 250 Pods has about 1,500. */
const SEARCHED_MAX = 20_000;
/**
 * Maximum number of cgroups to read per Pod, container or delegated slice, each of which can create any number of them.
 */
export const CGROUPS_EACH_MAX = 1_000;
/** Link count of a directory without subdirectories. */
const LEAF_LINKS = 2n;

/** A cgroup of the unified hierarchy (cgroup v2). */
interface Cgroup {
  readonly folder: string;
  /** Owner of the cgroup, as derived from its path. */
  readonly ref: ContainerRef | undefined;
  /** Cgroup directory of the owner's Pod. */
  readonly podFolder: string | undefined;
  /**
   * Number of cgroups of the outermost owner that may still be read. Undefined outside of all owners, where only the
   * node itself creates cgroups.
   */
  readonly room: { left: number } | undefined;
}

/** Owner of a cgroup, and the cgroup directory of the owner's Pod. */
export interface CgroupPlace {
  readonly ref: ContainerRef | undefined;
  readonly podFolder: string | undefined;
}

/** The cgroups of a Pod. */
export interface PodCgroups {
  /** IDs of the cgroups. Outer cgroups come first. */
  readonly ids: readonly Counter[];
  /** Whether the Pod has more cgroups than the limit. */
  readonly isCut: boolean;
}

/**
 * Returns the ID of a cgroup, which is the inode number of its directory on a 64-bit kernel (kernfs_id_ino()). Returns
 * undefined if the cgroup does not exist.
 */
export function cgroupId(folder: string): Counter | undefined {
  const stat = statOf(folder);
  return stat && toCounter(stat.ino);
}

/**
 * Lists the IDs of a cgroup and of all cgroups below it, up to a limit. Returns undefined if the cgroup does not exist.
 */
export async function cgroupsBelow(
  folder: string,
  cycle: Cycle,
  max = CGROUPS_EACH_MAX,
): Promise<PodCgroups | undefined> {
  const ids: Counter[] = [];
  const folders = [folder];
  for (const next of folders) {
    const stat = statOf(next);
    if (stat === undefined) continue;
    ids.push(toCounter(stat.ino));
    if (stat.nlink !== LEAF_LINKS) folders.push(...foldersIn(next).slice(0, max + 1 - folders.length));
    if (folders.length > max) return { ids, isCut: true };
    await cycle.pause();
  }
  return ids.length === 0 ? undefined : { ids, isCut: false };
}

/**
 * Searches a hierarchy for cgroups by their IDs, level by level. A cgroup that is missing from the result either does
 * not exist or was skipped because of a limit.
 * @param mount mount point of the hierarchy
 * @param eachMax maximum number of cgroups to read per owner
 */
export async function findCgroups(
  mount: string,
  wanted: ReadonlySet<Counter>,
  cycle: Cycle,
  eachMax = CGROUPS_EACH_MAX,
): Promise<ReadonlyMap<Counter, CgroupPlace>> {
  const found = new Map<Counter, CgroupPlace>();
  const queue: Cgroup[] = [{ folder: mount, ref: undefined, podFolder: undefined, room: undefined }];
  for (const cgroup of queue) {
    const stat = statOf(cgroup.folder);
    if (stat === undefined) continue;
    const id = toCounter(stat.ino);
    if (wanted.has(id)) found.set(id, cgroup);
    if (found.size === wanted.size) break;
    if (stat.nlink !== LEAF_LINKS) queue.push(...innerOf(cgroup, mount, eachMax).slice(0, SEARCHED_MAX - queue.length));
    await cycle.pause();
  }
  return found;
}

function innerOf(outer: Cgroup, mount: string, eachMax: number): Cgroup[] {
  return foldersIn(outer.folder)
    .map((folder) => ownedBy(outer, folder, mount, eachMax))
    .filter(({ room }) => room === undefined || room.left-- > 0);
}

/**
 * Returns a cgroup directly below `outer`, with its owner. All cgroups below the cgroup of a Pod belong to the Pod,
 * regardless of their names.
 */
function ownedBy(outer: Cgroup, folder: string, mount: string, eachMax: number): Cgroup {
  if (outer.ref?.podUid !== undefined) return { ...outer, folder };
  const name = basename(folder);
  const isOwner = isOwnerName(name);
  const ref = isOwner ? parseCgroup(`0::${folder.slice(mount.length)}`) : outer.ref;
  const isOthers = isOwner || (outer.folder === mount && isHandedOut(name));
  const room = outer.room ?? (isOthers ? { left: eachMax } : undefined);
  return { folder, ref, podFolder: ref?.podUid === undefined ? undefined : folder, room };
}

function statOf(folder: string): BigIntStats | undefined {
  return statSync(folder, { bigint: true, throwIfNoEntry: false });
}
