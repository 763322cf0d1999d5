import { type BigIntStats, statSync } from 'node:fs';
import { basename } from 'node:path';
import { type Counter, toCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { type ContainerRef, isHandedOut, isOwnerName, parseCgroup } from './cgroup.ts';
import { foldersIn } from './cgroup_tree.ts';

/** Limit on the cgroups that are searched; a node with 250 Pods has about 1,500. */
const SEARCHED_MAX = 20_000;
/** Limit on the cgroups that are read of one Pod, one container, or one delegated slice: each of these may create any number. */
export const CGROUPS_EACH_MAX = 1_000;
/** Link count of a directory without subdirectories. */
const LEAF_LINKS = 2n;

/** A cgroup of the unified hierarchy. */
interface Cgroup {
  readonly folder: string;
  /** Its owner by its path. */
  readonly ref: ContainerRef | undefined;
  /** Directory of its Pod. */
  readonly podFolder: string | undefined;
  /** Cgroups of the outermost owner that may still be read; undefined if only the node creates cgroups here. */
  readonly room: { left: number } | undefined;
}

/** Owner of a cgroup, and the directory of the owner's Pod. */
export interface CgroupPlace {
  readonly ref: ContainerRef | undefined;
  readonly podFolder: string | undefined;
}

/** The cgroups of a Pod. */
export interface PodCgroups {
  /** IDs, outer cgroups first. */
  readonly ids: readonly Counter[];
  /** Whether there are more than the limit. */
  readonly isCut: boolean;
}

/** Returns the ID of a cgroup, which is the inode number of its directory on a 64-bit kernel (kernfs_id_ino()); undefined if it is gone. */
export function cgroupId(folder: string): Counter | undefined {
  const stat = statOf(folder);
  return stat && toCounter(stat.ino);
}

/** Lists the IDs of a cgroup and of all cgroups below it, up to a limit; undefined if it is gone. */
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
 * Searches a hierarchy for cgroups by their IDs, level by level. A cgroup that is missing from the result is gone, or over a limit.
 * @param mount mount point of the hierarchy
 * @param eachMax limit on the cgroups that are read of one owner
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

/** All cgroups in a Pod belong to the Pod, whatever their names. */
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
