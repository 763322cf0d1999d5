import type { Cycle } from '#core/cycle.ts';
import type { DeviceRows } from '#sources/devices/rows.ts';
import type { LinkRow } from '#sources/netlink/link.ts';
import type { RouteSource } from '#sources/netlink/route.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import type { DeviceStats } from '#sources/procfs/net_dev.ts';

/** A device that is shown: a row of the walk, with the kernel's answer where the walk could not count the device. */
export class WalkedDevice {
  readonly row: number;
  readonly stats: DeviceStats | undefined;

  // Objects of a class: V8 forgets the shape of literals that are gone, and optimizes the code that has seen them again.
  constructor(row: number, stats?: DeviceStats) {
    this.row = row;
    this.stats = stats;
  }
}

interface Shown {
  readonly loopback: boolean;
  readonly nodeVeth: boolean;
}

/** Returns the devices of a Pod; undefined where the walk did not meet the namespace, or could not count one of them. */
export function walkedOfPod(
  rows: DeviceRows,
  { id }: NetnsEntry,
  { loopback }: Pick<Shown, 'loopback'>,
): WalkedDevice[] | undefined {
  const all = rows.of(id);
  const shown = all.filter((row) => loopback || !rows.isLoopback(row));
  if (all.length === 0 || shown.some((row) => !rows.isCounted(row))) return undefined;
  return shown.map((row) => new WalkedDevice(row));
}

type Route = Pick<RouteSource, 'links' | 'deviceStats'>;

/**
 * Returns the devices of the node. The kernel is asked one by one for the devices that the walk could not count, such as physical ones. The
 * node's ends of Pods' devices are left out. Undefined where the kernel does not answer.
 */
export function walkedOfNode(
  rows: DeviceRows,
  entry: NetnsEntry,
  { loopback, nodeVeth }: Shown,
  route: Route,
  cycle: Cycle,
): WalkedDevice[] | undefined {
  const all = rows.of(entry.id).filter((row) => loopback || !rows.isLoopback(row));
  const own = nodeVeth ? all : withoutPods(rows, all, () => route.links(entry, cycle));
  if (own === undefined || rows.of(entry.id).length === 0) return undefined;
  const shown: WalkedDevice[] = [];
  for (const row of own) {
    const stats = rows.isCounted(row) ? undefined : route.deviceStats(entry, rows.ifindex(row), cycle);
    if (stats === undefined && !rows.isCounted(row)) return undefined;
    shown.push(new WalkedDevice(row, stats));
  }
  return shown;
}

/** Returns the devices that are not linked to another namespace; netlink is asked only for what the walk does not know. */
function withoutPods(
  rows: DeviceRows,
  all: readonly number[],
  askLinks: () => readonly LinkRow[],
): number[] | undefined {
  const isUnknown = (row: number) => rows.isLinkedOutside(row) === undefined;
  if (!all.some(isUnknown)) return all.filter((row) => rows.isLinkedOutside(row) !== true);
  const links = new Map(askLinks().map((link) => [link.ifindex, link]));
  if (links.size === 0) return undefined;
  return all.filter((row) => {
    if (!isUnknown(row)) return rows.isLinkedOutside(row) !== true;
    const link = links.get(rows.ifindex(row));
    // Where the kind differs or is missing, the device is gone.
    return link?.kind === rows.kind(row) && !link.linkedOutside;
  });
}
