import { defineRetained } from '#probe/retained.ts';
import type { Family } from '#sources/netlink/changes/family.ts';
import type { Change, LinkChange, TableChange } from '#sources/netlink/changes/network_state.ts';
import type { Link } from '#sources/netlink/changes/notices.ts';

/** Maximum number of devices that are counted by name. All other devices are counted by kind. */
export const DEVICES_MAX = 256;

/** Kinds of devices that carry the traffic of many Pods. Every change of such a device causes an event. */
const TOLD_KINDS = new Set([
  ...['bond', 'team', 'bridge', 'vlan'],
  ...['vxlan', 'geneve', 'gre', 'gretap', 'erspan', 'ip6gre', 'ip6gretap', 'ip6erspan', 'ipip', 'ip6tnl', 'sit'],
  ...['vti', 'vti6', 'wireguard', 'tun', 'xfrm', 'gtp'],
]);

/**
 * Returns the kind of a device. Hardware and paravirtual devices have no kind in rtnetlink and are called `physical`.
 */
export function kindOf({ kind, loopback }: Link): string {
  return kind ?? (loopback ? 'loopback' : 'physical');
}

/** Returns whether changes of the device cause events. Changes of devices that are created for a single Pod do not. */
export function isTold(link: Link): boolean {
  const kind = kindOf(link);
  return kind === 'physical' || TOLD_KINDS.has(kind);
}

/** Counts of changes since the agent started. */
export class ChangeCounts {
  /** Counts by device and by change. */
  readonly links = new Map<string, Map<LinkChange, number>>();
  readonly routes = new Map<Family, Map<TableChange, number>>();
  readonly rules = new Map<Family, Map<TableChange, number>>();
  /** Counts by device. */
  readonly failures = new Map<string, number>();
  addresses = 0;
  rulesets = 0;
  overruns = 0;
  readonly #named = new Set<string>();

  count(change: Change): void {
    switch (change.what) {
      case 'link':
        increase(this.links, this.#label(change.link), change.change);
        break;
      case 'route':
        increase(this.routes, change.route.family, change.change);
        break;
      case 'rule':
        increase(this.rules, change.family, change.change);
        break;
      case 'address':
        this.addresses++;
        break;
      case 'neighbour': {
        const device = change.device === undefined ? 'kind:unknown' : this.#label(change.device);
        this.failures.set(device, (this.failures.get(device) ?? 0) + 1);
      }
    }
  }

  /**
   * Returns the name of the device, or its kind as in `kind:veth`. The two cannot be confused, because the kernel does
   * not allow colons in device names.
   */
  #label(link: Link): string {
    const { name } = link;
    if (isTold(link) && (this.#named.has(name) || this.#named.size < DEVICES_MAX)) {
      this.#named.add(name);
      return name;
    }
    return `kind:${kindOf(link)}`;
  }
}

export const CHANGE_COUNTS = defineRetained(() => new ChangeCounts());

function increase<Key, Kind>(counts: Map<Key, Map<Kind, number>>, key: Key, kind: Kind): void {
  const kinds = counts.get(key) ?? new Map<Kind, number>();
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  counts.set(key, kinds);
}
