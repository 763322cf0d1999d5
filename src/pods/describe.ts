import type { EntityKind } from '#api/words.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import type { ContainerRef } from './cgroup.ts';
import type { Entity } from './entity.ts';
import { PROCESSES_MAX, type ProcessInfo, type ProcessTable } from './process_table.ts';

/** Digits of a container ID that tools show. */
const SHORT_ID = 12;

export interface Described {
  readonly entity: Entity;
  /** Processes of the namespace, the oldest first. */
  readonly pids: readonly number[];
  /** When the oldest of them began, after boot; undefined where there is none. */
  readonly startSeconds: number | undefined;
  /** A container's: nothing better will be learnt of it. */
  readonly settled: boolean;
}

/**
 * Names a namespace after its container, else after its mount, else after its oldest process. The agent's own container
 * names only what it is in: namespaces that were made inside of it have names of their own.
 */
export function describe(
  entry: NetnsEntry,
  pids: readonly number[],
  mount: string | undefined,
  table: Pick<ProcessTable, 'info'>,
  ownContainer: string | undefined,
): Described {
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
export function keepOwner(before: Described | undefined, now: Described): Described {
  const startSeconds = before?.startSeconds ?? now.startSeconds;
  if (before === undefined || !before.settled || now.settled) return { ...now, startSeconds };
  return { ...now, entity: before.entity, settled: true, startSeconds };
}

export function sameName(a: Entity, b: Entity): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.pod === b.pod && a.uid === b.uid;
}
