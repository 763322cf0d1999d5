import type { Cycle } from '#core/cycle.ts';
import type { LinkRow } from '#sources/netlink/link.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import { describeMissing, missingCapabilities } from '#sources/procfs/capabilities.ts';
import { type DeviceStats, parseNetDev } from '#sources/procfs/net_dev.ts';
import type { Sources } from '#sources/sources.ts';

/**
 * Maximum number of attempts to read the devices while they are changing. After the last attempt, devices that have
 * changed are skipped.
 */
const TRIES = 3;

export interface NodeDevice {
  readonly stats: DeviceStats;
  /** Link of the device; undefined if the kernel does not report it. */
  readonly link?: LinkRow | undefined;
}

type Links = ReadonlyMap<string, LinkRow>;
type DeviceSources = Pick<Sources, 'files' | 'route'>;

export function readDevices(
  { files }: Pick<Sources, 'files'>,
  entry: NetnsEntry,
  cycle: Cycle,
): Map<string, DeviceStats> {
  return files.parse(entry, 'net/dev', cycle, parseNetDev) ?? new Map();
}

/**
 * Reads the devices of the node and their kinds. The file net/dev identifies a device by its name, and netlink by its
 * index. A name may be given to another device between the two reads, so a row is used only if its name had the same
 * index before and after the file was read.
 */
export class NodeDevices {
  readonly #sources: DeviceSources;
  #links: Links = new Map();
  #hasDevices = false;

  constructor(sources: DeviceSources) {
    this.#sources = sources;
  }

  /**
   * Returns the devices by name.
   * @param isShown returns whether a device is shown; all others are ignored
   */
  read(entry: NetnsEntry, isShown: (link: LinkRow) => boolean, cycle: Cycle): Map<string, NodeDevice> {
    for (let tries = 1; ; tries++) {
      const before = this.#links;
      const stats = readDevices(this.#sources, entry, cycle);
      const after = new Map(this.#sources.route.links(entry, cycle).map((link) => [link.name, link]));
      this.#links = after;
      this.#hasDevices = stats.size > 0;
      if (after.size === 0) return new Map([...stats].map(([name, row]) => [name, { stats: row }]));
      const shown = [...stats].flatMap(([name, row]) => {
        const link = after.get(name);
        return link === undefined || isShown(link) ? [{ name, stats: row, link }] : [];
      });
      const sure = shown.filter(({ name, link }) => link !== undefined && link.ifindex === before.get(name)?.ifindex);
      if (sure.length === shown.length || tries === TRIES) return new Map(sure.map(({ name, ...row }) => [name, row]));
    }
  }

  /**
   * Forgets the links. Called if the walk has read the devices instead, so that the probe does not count as degraded.
   */
  forget(): void {
    this.#links = new Map();
    this.#hasDevices = false;
  }

  get degraded(): string[] {
    if (!this.#hasDevices || this.#links.size > 0) return [];
    const missing = describeMissing(missingCapabilities(['CAP_SYS_ADMIN']));
    const why = missing === '' ? '' : ` (${missing}, and the agent is not in the network namespace of the node)`;
    return [
      `the node's ends of Pod devices are shown as well because the kernel does not report which devices they are${why}`,
    ];
  }
}
