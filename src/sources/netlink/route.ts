import type { Cycle } from '#core/cycle.ts';
import type { Malformed } from '../errors.ts';
import type { NetnsEntry } from '../netns.ts';
import type { DeviceStats } from '../procfs/net_dev.ts';
import { ADDRESS_REQUEST, decodeAddresses } from './address.ts';
import type { NetlinkClient, NetlinkQuestion } from './client.ts';
import { decodeDeviceStats, deviceStatsRequest } from './device_stats.ts';
import { decodeLinks, LINK_REQUEST, type LinkRow } from './link.ts';
import { NETLINK } from './message.ts';
import { decodeQdiscs, QDISC_REQUEST, type QdiscRow } from './qdisc.ts';

const QDISCS = question('qdisc', QDISC_REQUEST, decodeQdiscs);
const LINKS = question('link', LINK_REQUEST, decodeLinks);
const ADDRESSES = question('address', ADDRESS_REQUEST, decodeAddresses);

function question<Answer>(
  what: string,
  request: Uint8Array,
  decode: (messages: Uint8Array, malformed: Malformed) => Answer,
): NetlinkQuestion<Answer> {
  return { protocol: NETLINK.route, what, request, decode };
}

/** Sends rtnetlink requests in any namespace. */
export class RouteSource {
  readonly #netlink: NetlinkClient;

  constructor(netlink: NetlinkClient) {
    this.#netlink = netlink;
  }

  qdiscs(entry: NetnsEntry, cycle: Cycle): readonly QdiscRow[] {
    return this.#netlink.ask(entry, QDISCS, cycle) ?? [];
  }

  links(entry: NetnsEntry, cycle: Cycle): readonly LinkRow[] {
    return this.#netlink.ask(entry, LINKS, cycle) ?? [];
  }

  /** Reads the counters of a device; returns undefined if the device or its namespace is gone or the request failed. */
  deviceStats(entry: NetnsEntry, ifindex: number, cycle: Cycle): DeviceStats | undefined {
    return this.#netlink.ask(entry, question('device stats', deviceStatsRequest(ifindex), decodeDeviceStats), cycle);
  }

  /** Returns the addresses in a namespace. If the agent may not enter it, returns none without counting an error. */
  addresses(entry: NetnsEntry, cycle: Cycle): readonly string[] {
    if (!this.#netlink.mayEnter(entry)) return [];
    return this.#netlink.ask(entry, ADDRESSES, cycle) ?? [];
  }
}
