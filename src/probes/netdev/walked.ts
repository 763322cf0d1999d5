import type { Cycle } from '#core/cycle.ts';
import type { DeviceRows } from '#sources/devices/rows.ts';
import type { LinkRow } from '#sources/netlink/link.ts';
import type { RouteSource } from '#sources/netlink/route.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import type { DeviceStats } from '#sources/procfs/net_dev.ts';

/** A device to show: its row in the walk, and the statistics from netlink if the walk could not read them. */
export class WalkedDevice {
  readonly row: number;
  readonly stats: DeviceStats | undefined;

  // This is a class because V8 discards the hidden class of object literals when they are garbage-collected, and then
  // has to reoptimize the code that uses them.
  constructor(row: number, stats?: DeviceStats) {
    this.row = row;
    this.stats = stats;
  }
}

interface Shown {
  readonly loopback: boolean;
  readonly nodeVeth: boolean;
}

/**
 * Returns the devices of a Pod; undefined if the walk did not visit the namespace, or could not read one of its
 * devices.
 */
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
 * Returns the devices of the node, without the node's ends of Pod devices. Devices that the walk could not read, such
 * as physical ones, are queried individually with netlink. Returns undefined if the kernel does not respond.
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

/**
 * Returns the devices that are not linked to another namespace. Netlink is used only for facts that the walk does not
 * provide.
 */
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
    // If the kind is different or missing, the device has been removed.
    return link?.kind === rows.kind(row) && !link.linkedOutside;
  });
}
