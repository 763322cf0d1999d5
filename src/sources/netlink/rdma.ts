import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import type { NetlinkQuestion } from './client.ts';
import {
  decodeAttributes,
  decodeObjects,
  encodeRequest,
  NETLINK,
  NLM_F_DUMP,
  type Span,
  text,
  u64,
  visitAttributes,
} from './message.ts';

/**
 * Reads resources of RDMA devices with RDMA_NLDEV_CMD_RES_GET (man 8 rdma-resource). Kernel:
 * drivers/infiniband/core/nldev.c, fill_res_info(); include/uapi/rdma/rdma_netlink.h.
 */

/** RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_RES_GET): client in the high bits, command in the low ten bits. */
const RES_GET = (5 << 10) | 9;

const ATTR_DEV_NAME = 2;
const ATTR_RES_SUMMARY = 15;
const ATTR_RES_SUMMARY_ENTRY = 16;
const ATTR_RES_SUMMARY_ENTRY_NAME = 17;
const ATTR_RES_SUMMARY_ENTRY_CURR = 18;

export interface RdmaResourceRow {
  readonly device: string;
  /** Kind, such as `qp`, `cq` or `mr`. Newer kernels may report additional kinds. */
  readonly resource: string;
  readonly count: Counter;
}

export const RDMA_RESOURCES: NetlinkQuestion<RdmaResourceRow[]> = {
  protocol: NETLINK.rdma,
  what: 'rdma resources',
  request: encodeRequest(RES_GET, NLM_F_DUMP, new Uint8Array()),
  decode: decodeRdmaResources,
};

/** Returns a row for each device and kind of resource. Entries without a name or a count are skipped. */
export function decodeRdmaResources(messages: Uint8Array, malformed: Malformed): RdmaResourceRow[] {
  const rows: RdmaResourceRow[] = [];
  for (const { attributes } of decodeObjects(messages, RES_GET, 0, malformed)) {
    const device = text(attributes.get(ATTR_DEV_NAME));
    const summary = attributes.get(ATTR_RES_SUMMARY);
    if (device === undefined || summary === undefined) malformed('a device without its name or its resources');
    else rows.push(...decodeSummary(device, summary, malformed));
  }
  return rows;
}

function decodeSummary(device: string, summary: Span, malformed: Malformed): RdmaResourceRow[] {
  const rows: RdmaResourceRow[] = [];
  visitAttributes(summary, 0, (kind, entry) => {
    if (kind !== ATTR_RES_SUMMARY_ENTRY) return;
    const fields = decodeAttributes(entry);
    const resource = text(fields.get(ATTR_RES_SUMMARY_ENTRY_NAME));
    const count = u64(fields.get(ATTR_RES_SUMMARY_ENTRY_CURR));
    if (resource !== undefined && count !== undefined) rows.push({ device, resource, count });
    else malformed(`a kind of resource of ${device} without its name or its count`);
  });
  return rows;
}
