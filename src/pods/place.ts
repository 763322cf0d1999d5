import type { NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';

/** A network namespace that a scan has found. */
export interface Place {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pids: readonly number[];
  /** Names of the mounts of the namespace. */
  readonly mounts: readonly string[];
  /** Position of the namespace in the order of creation, ascending; undefined if the kernel cannot list namespaces. */
  readonly order: number | undefined;
}

/**
 * Finds the node's network namespace. It is the namespace of process 1 or, if that is unknown, the initial namespace or
 * the namespace of the agent.
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
 * (net/core/net_namespace.c, setup_net()), but a BPF walk may start anywhere in the list. Cookies do not show the
 * order, because each CPU assigns cookies from a block of its own.
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
