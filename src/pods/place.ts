import type { NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';

/** A namespace as a scan finds it. */
export interface Place {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pids: readonly number[];
  /** Names of its mounts. */
  readonly mounts: readonly string[];
  /** Creation order: later namespaces have higher numbers; undefined where the kernel's list cannot be read. */
  readonly order: number | undefined;
}

/**
 * Finds the node's own namespace: that of process 1; where that may not be seen, the machine's first one; else the agent's own.
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
 * Returns the order in which namespaces were made. The kernel appends each to its list (net/core/net_namespace.c, setup_net()), and
 * the walk begins somewhere in it. Cookies do not give the order: each CPU assigns them from a block of its own.
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
