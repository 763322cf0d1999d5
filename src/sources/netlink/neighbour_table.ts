import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import type { NetlinkQuestion } from './client.ts';
import { decodeObjects, encodeRequest, NETLINK, NLM_F_DUMP, text, u32, u64 } from './message.ts';

/**
 * Reads neighbour tables with RTM_GETNEIGHTBL (man 7 rtnetlink). Kernel: net/core/neighbour.c, neightbl_fill_info();
 * include/uapi/linux/neighbour.h.
 */

const RTM_NEWNEIGHTBL = 64;
const RTM_GETNEIGHTBL = 66;
/** struct ndtmsg. */
const NDTMSG_BYTES = 4;

const NDTA_NAME = 1;
const NDTA_THRESH3 = 4;
const NDTA_CONFIG = 5;
const NDTA_STATS = 7;
/** struct ndt_config: key_len, entry_size, entries. */
const CONFIG_ENTRIES = 4;
/** Offset of table_fulls, the eleventh u64 of struct ndt_stats. */
const STATS_TABLE_FULLS = 10 * 8;

const FAMILIES: Readonly<Record<string, 'ipv4' | 'ipv6'>> = { arp_cache: 'ipv4', ndisc_cache: 'ipv6' };

/** A neighbour table. All namespaces of the machine share it. */
export interface NeighbourTable {
  readonly family: 'ipv4' | 'ipv6';
  readonly entries: number;
  /** Maximum number of entries (`gc_thresh3`). */
  readonly limit: number;
  /** Number of entries that were rejected because the table was full; undefined if the kernel does not report it. */
  readonly overflows: Counter | undefined;
}

export const NEIGHBOUR_TABLES: NetlinkQuestion<NeighbourTable[]> = {
  protocol: NETLINK.route,
  what: 'neighbour tables',
  request: encodeRequest(RTM_GETNEIGHTBL, NLM_F_DUMP, new Uint8Array(NDTMSG_BYTES)),
  decode: decodeNeighbourTables,
};

/**
 * Decodes the ARP and neighbour discovery tables. Skips rows for individual devices and the tables of other protocols.
 */
export function decodeNeighbourTables(messages: Uint8Array, malformed: Malformed): NeighbourTable[] {
  const tables: NeighbourTable[] = [];
  for (const { attributes } of decodeObjects(messages, RTM_NEWNEIGHTBL, NDTMSG_BYTES, malformed)) {
    const family = FAMILIES[text(attributes.get(NDTA_NAME)) ?? ''];
    const config = attributes.get(NDTA_CONFIG);
    if (family === undefined || config === undefined) continue;
    const entries = u32(config, CONFIG_ENTRIES);
    const limit = u32(attributes.get(NDTA_THRESH3));
    if (entries === undefined || limit === undefined) {
      malformed('a neighbour table without its entries or its limit');
      continue;
    }
    tables.push({ family, entries, limit, overflows: u64(attributes.get(NDTA_STATS), STATS_TABLE_FULLS) });
  }
  return tables;
}
