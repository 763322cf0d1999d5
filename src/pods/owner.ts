import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import type { ContainerRef } from './cgroup.ts';
import type { Entity } from './entity.ts';
import { PROCESSES_MAX, type ProcessInfo, type ProcessTable } from './process_table.ts';

/** Digits of a container ID that tools show. */
const SHORT_ID = 12;

/** A namespace as a scan finds it. */
export interface Place {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pids: readonly number[];
  /** Name of its mount. */
  readonly mount: string | undefined;
}

/** Whose a namespace is, and what tells it. */
export interface Ownership {
  readonly entity: Entity;
  /** Processes of the namespace, the oldest first. */
  readonly pids: readonly number[];
  /** When the oldest of them began, in seconds after boot; undefined where there is none. */
  readonly startSeconds: number | undefined;
  /** The owner is the node, a Pod or a container: no later scan learns anything better. */
  readonly settled: boolean;
}

/**
 * Finds the node's own namespace: the one of process 1; where that may not be seen, the machine's first one; else the one
 * that the agent is in.
 * @param live namespaces that the kernel lists, by inode number; undefined where it cannot be asked
 * @param ownPid number of the agent's process, as its /proc has it
 */
export function nodeNetns(
  places: readonly Place[],
  live: ReadonlyMap<number, NetnsRow> | undefined,
  ownPid: () => number,
): NetnsId | undefined {
  const ofPid = (pid: number) => places.find(({ pids }) => pids.includes(pid))?.id;
  const initial = [...(live?.values() ?? [])].find((row) => row.initial)?.id;
  const hasInitial = places.some(({ id, pids }) => id === initial && pids.length > 0);
  return ofPid(1) ?? (hasInitial ? initial : undefined) ?? ofPid(ownPid());
}

/**
 * Names a namespace after its container, else after its mount, else after its oldest process. The agent's own container
 * names only what it is in: namespaces that were made inside of it have names of their own.
 */
export function ownerOf(
  entry: NetnsEntry,
  { pids, mount }: Pick<Place, 'pids' | 'mount'>,
  table: Pick<ProcessTable, 'info'>,
  ownContainer: string | undefined,
): Ownership {
  if (entry.isNode) {
    const entity = entityOf(entry, 'node', '', '');
    return { entity, pids: pids.slice(0, PROCESSES_MAX), startSeconds: undefined, settled: true };
  }
  const processes = pids
    .slice(0, PROCESSES_MAX)
    .map((pid) => table.info(pid))
    .filter((process): process is ProcessInfo => process !== undefined)
    .sort((a, b) => a.startSeconds - b.startSeconds || a.pid - b.pid);
  const [oldest] = processes;
  const common = { pids: processes.map(({ pid }) => pid), startSeconds: oldest?.startSeconds };
  const contained = containerEntity(entry, findContainer(processes, ownContainer));
  if (contained !== undefined) return { ...common, entity: contained, settled: true };
  if (mount !== undefined) return { ...common, entity: entityOf(entry, 'netns', mount, ''), settled: false };
  const name = oldest === undefined ? `netns-${entry.inum}` : `${oldest.comm}-${oldest.pid}`;
  return { ...common, entity: entityOf(entry, 'process', name, ''), settled: false };
}

/** The Pod or the container that a namespace belongs to, if any. */
export function containerEntity(entry: NetnsEntry, container: ContainerRef | undefined): Entity | undefined {
  const { podUid, containerId } = container ?? {};
  if (podUid !== undefined) return entityOf(entry, 'pod', podUid, podUid);
  if (containerId !== undefined) return entityOf(entry, 'container', containerId.slice(0, SHORT_ID), containerId);
  return undefined;
}

function entityOf({ id, inum }: NetnsEntry, kind: EntityKind, pod: string, uid: string): Entity {
  return { kind, netns: id, inum, namespace: '', pod, uid, labels: {} };
}

function findContainer(processes: readonly ProcessInfo[], own: string | undefined): ContainerRef | undefined {
  for (const { container } of processes) {
    const found = container();
    if (found !== undefined && (own === undefined || found.containerId !== own)) return found;
  }
  return undefined;
}

/** What was a Pod's stays so when its processes are gone, and only a mount is left. */
export function keepOwner(before: Ownership | undefined, now: Ownership): Ownership {
  const startSeconds = before?.startSeconds ?? now.startSeconds;
  if (before === undefined || !before.settled || now.settled) return { ...now, startSeconds };
  return { ...now, entity: before.entity, settled: true, startSeconds };
}

export function sameName(a: Entity, b: Entity): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.pod === b.pod && a.uid === b.uid;
}
