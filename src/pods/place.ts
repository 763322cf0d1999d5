import type { NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';

/** A network namespace as a scan has found it. */
export interface Place {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pids: readonly number[];
  /** Names under which the namespace is mounted. */
  readonly mounts: readonly string[];
  /** Position in the order of creation, ascending; undefined if the kernel cannot list the namespaces. */
  readonly order: number | undefined;
}

/**
 * Finds the node's network namespace: that of process 1 or, if that is unknown, the initial namespace or otherwise that
 * of the agent.
 * @param live namespaces that the kernel lists, by inode number; undefined if it cannot list them
 * @param ownPid returns the agent's process ID in its /proc
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
 * Returns the order in which namespaces were created. The kernel appends each new namespace to its list
 * (net/core/net_namespace.c, setup_net()), and the walk may start anywhere in the list. Cookies are unordered, because
 * each CPU has its own block of cookies.
 */
export function orderOf(live: readonly NetnsRow[] | undefined): (id: NetnsId) => number | undefined {
  if (live === undefined) return () => undefined;
  const first = Math.max(
    0,
    live.findIndex(({ initial }) => initial),
  );
  const orders = new Map(live.map(({ id }, index) => [id, (index - first + live.length) % live.length]));
  return (id) => orders.get(id) ?? live.length;
}
