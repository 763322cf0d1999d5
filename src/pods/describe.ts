import type { NetnsEntry } from '../sources/netns.ts';
import type { ContainerRef } from './cgroup.ts';
import type { Entity, EntityKind } from './entity.ts';
import { type ProcessInfo, readContainer, readProcess } from './processes.ts';

/** Of a namespace with more processes than this only the first are looked at: the oldest is nearly always among them. */
const PROCESSES_MAX = 32;
/** Digits of a container ID that tools show. */
const SHORT_ID = 12;

export interface Described {
  readonly entity: Entity;
  /** Processes of the namespace, the oldest first. */
  readonly pids: readonly number[];
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
  proc: string,
  ownContainer: string | undefined,
): Described {
  const named = (kind: EntityKind, pod: string, uid: string): Entity => ({
    kind,
    netns: entry.id,
    inum: entry.inum,
    namespace: '',
    pod,
    uid,
    labels: {},
  });
  if (entry.isNode) return { entity: named('node', '', ''), pids: pids.slice(0, PROCESSES_MAX), settled: true };

  const processes = pids
    .slice(0, PROCESSES_MAX)
    .map((pid) => readProcess(proc, pid))
    .filter((process): process is ProcessInfo => process !== undefined)
    .sort((a, b) => a.startTime - b.startTime || a.pid - b.pid);
  const oldestFirst = processes.map(({ pid }) => pid);
  const container = findContainer(oldestFirst, proc, ownContainer);
  if (container?.podUid !== undefined) {
    return { entity: named('pod', container.podUid, container.podUid), pids: oldestFirst, settled: true };
  }
  if (container?.containerId !== undefined) {
    const { containerId } = container;
    return {
      entity: named('container', containerId.slice(0, SHORT_ID), containerId),
      pids: oldestFirst,
      settled: true,
    };
  }
  if (mount !== undefined) return { entity: named('netns', mount, ''), pids: oldestFirst, settled: false };
  const oldest = processes[0];
  const name = oldest === undefined ? `netns-${entry.inum}` : `${oldest.comm}-${oldest.pid}`;
  return { entity: named('process', name, ''), pids: oldestFirst, settled: false };
}

function findContainer(pids: readonly number[], proc: string, own: string | undefined): ContainerRef | undefined {
  for (const pid of pids) {
    const container = readContainer(proc, pid);
    if (container !== undefined && (own === undefined || container.containerId !== own)) return container;
  }
  return undefined;
}
