import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import {
  decodeAttributes,
  decodeMessages,
  encodeRequest,
  length,
  NLM_F_DUMP,
  type Span,
  text,
  u32,
  u64,
} from './message.ts';

/**
 * Reads queueing disciplines with RTM_GETQDISC (man 7 rtnetlink, man 8 tc). Kernel: net/sched/sch_api.c,
 * tc_fill_qdisc(); net/core/gen_stats.c; include/uapi/linux/{rtnetlink,pkt_sched,gen_stats}.h.
 */

const RTM_NEWQDISC = 36;
const RTM_GETQDISC = 38;

/** struct tcmsg: family and padding, ifindex, handle, parent, info. */
const TCMSG_BYTES = 20;
const IFINDEX = 4;
const PARENT = 12;

const TC_H_ROOT = 0xffffffff;
const TC_H_INGRESS = 0xfffffff1;

const TCA_KIND = 1;
const TCA_STATS2 = 7;
const TCA_STATS_BASIC = 1;
const TCA_STATS_QUEUE = 3;
const TCA_STATS_PKT64 = 8;

const U64_BYTES = 8;
const QUEUE_BYTES = 20;

export interface QdiscRow {
  readonly ifindex: number;
  /** Kind, such as `pfifo_fast`, `fq_codel` or `ingress`. */
  readonly kind: string;
  readonly bytes: Counter;
  readonly packets: Counter;
  readonly queueLength: number;
  readonly backlogBytes: number;
  /** The next three counters have 32 bits in the kernel and wrap around. */
  readonly drops: number;
  readonly requeues: number;
  readonly overlimits: number;
}

export const QDISC_REQUEST = encodeRequest(RTM_GETQDISC, NLM_F_DUMP, new Uint8Array(TCMSG_BYTES));

/**
 * Returns the root and ingress qdiscs of devices. Skips child qdiscs, whose counts are included in those of their root,
 * and `noqueue`, which counts nothing. Also skips messages that are truncated or have no statistics.
 */
export function decodeQdiscs(messages: Uint8Array, malformed: Malformed): QdiscRow[] {
  const rows: QdiscRow[] = [];
  for (const { type, payload } of decodeMessages(messages, malformed)) {
    const parent = u32(payload, PARENT);
    if (type !== RTM_NEWQDISC || (parent !== TC_H_ROOT && parent !== TC_H_INGRESS)) continue;
    const row = decodeQdisc(payload);
    if (row === 'none') continue;
    if (row === undefined) malformed('a qdisc without its name or statistics');
    else rows.push(row);
  }
  return rows;
}

function decodeQdisc(payload: Span): QdiscRow | 'none' | undefined {
  const ifindex = u32(payload, IFINDEX);
  const attributes = decodeAttributes(payload, TCMSG_BYTES);
  const kind = text(attributes.get(TCA_KIND));
  if (kind === 'noqueue') return 'none';
  const stats = decodeAttributes(attributes.get(TCA_STATS2));
  const basic = stats.get(TCA_STATS_BASIC);
  const queue = stats.get(TCA_STATS_QUEUE);
  const bytes = u64(basic);
  const packets = u64(stats.get(TCA_STATS_PKT64)) ?? u32(basic, U64_BYTES);
  if (ifindex === undefined || kind === undefined || bytes === undefined || packets === undefined) return undefined;
  if (queue === undefined || length(queue) < QUEUE_BYTES) return undefined;
  return {
    ifindex,
    kind,
    bytes,
    packets,
    queueLength: queue.view.getUint32(queue.start, true),
    backlogBytes: queue.view.getUint32(queue.start + 4, true),
    drops: queue.view.getUint32(queue.start + 8, true),
    requeues: queue.view.getUint32(queue.start + 12, true),
    overlimits: queue.view.getUint32(queue.start + 16, true),
  };
}
