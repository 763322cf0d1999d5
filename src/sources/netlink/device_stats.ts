import { addCounters, type Counter, readCounter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import { type DeviceStats, NET_DEV_COLUMNS } from '../procfs/net_dev.ts';
import { decodeObjects, encodeRequest, length, type Span } from './message.ts';

/**
 * Reads the counters of one network device with RTM_GETSTATS (man 7 rtnetlink). Kernel: net/core/rtnetlink.c,
 * rtnl_stats_get(); include/uapi/linux/if_link.h, struct rtnl_link_stats64.
 */

const RTM_NEWSTATS = 92;
const RTM_GETSTATS = 94;

/** struct if_stats_msg: family, padding, index, filter. */
const IF_STATS_MSG_BYTES = 12;
const INDEX = 4;
const FILTER = 8;
const IFLA_STATS_LINK_64 = 1;
const ONLY_LINK_64 = 1 << (IFLA_STATS_LINK_64 - 1);

/**
 * Words of struct rtnl_link_stats64 that are added up for each column, in the same way as for net/dev (kernel:
 * net/core/net-procfs.c, dev_seq_printf_stats()).
 */
const WORDS: Readonly<Record<keyof DeviceStats, readonly number[]>> = {
  receivedPackets: [0],
  sentPackets: [1],
  receivedBytes: [2],
  sentBytes: [3],
  receivedErrors: [4],
  sentErrors: [5],
  // rx_dropped, rx_missed_errors.
  receivedDrops: [6, 15],
  sentDrops: [7],
  receivedMulticast: [8],
  collisions: [9],
  // rx_length_errors, rx_over_errors, rx_crc_errors, rx_frame_errors.
  receivedFrame: [10, 11, 12, 13],
  receivedFifo: [14],
  // tx_aborted_errors, tx_carrier_errors, tx_heartbeat_errors, tx_window_errors.
  sentCarrier: [16, 17, 19, 20],
  sentFifo: [18],
  receivedCompressed: [21],
  sentCompressed: [22],
};
const STATS_BYTES = 23 * 8;

export function deviceStatsRequest(ifindex: number): Uint8Array {
  const payload = new Uint8Array(IF_STATS_MSG_BYTES);
  const view = new DataView(payload.buffer);
  view.setUint32(INDEX, ifindex, true);
  view.setUint32(FILTER, ONLY_LINK_64, true);
  return encodeRequest(RTM_GETSTATS, 0, payload);
}

/** Returns the counters; undefined if the response contains none. */
export function decodeDeviceStats(messages: Uint8Array, malformed: Malformed): DeviceStats | undefined {
  for (const { attributes } of decodeObjects(messages, RTM_NEWSTATS, IF_STATS_MSG_BYTES, malformed)) {
    const stats = attributes.get(IFLA_STATS_LINK_64);
    if (stats !== undefined && length(stats) >= STATS_BYTES) return readStats(stats);
    malformed('a device without its counters');
  }
  return undefined;
}

function readStats({ view, start }: Span): DeviceStats {
  const read = (word: number) => readCounter(view, start + word * 8);
  const entries = NET_DEV_COLUMNS.map((column): [keyof DeviceStats, Counter] => [
    column,
    WORDS[column].map(read).reduce(addCounters),
  ]);
  return Object.fromEntries(entries) as DeviceStats;
}
