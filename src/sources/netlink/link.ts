import { deviceName } from '#core/device_name.ts';
import type { Malformed } from '../errors.ts';
import { decodeAttributes, decodeMessages, encodeRequest, NLM_F_DUMP, stringBytes, text, u32 } from './message.ts';

/**
 * Reads network devices with RTM_GETLINK (man 7 rtnetlink). Kernel: net/core/rtnetlink.c, rtnl_fill_ifinfo();
 * include/uapi/linux/if_link.h.
 */

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;

/** struct ifinfomsg: family, padding, type, index, flags, change. */
const IFINFOMSG_BYTES = 16;
const INDEX = 4;
const FLAGS = 8;
const IFF_LOOPBACK = 0x8;

const IFLA_IFNAME = 3;
const IFLA_LINK = 5;
const IFLA_LINKINFO = 18;
const IFLA_EXT_MASK = 29;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
/** Flag that omits the statistics, which make up 90 % of a response. */
const RTEXT_FILTER_SKIP_STATS = 0x8;

export interface LinkRow {
  readonly ifindex: number;
  readonly name: string;
  /** Kind, such as `veth`, `bridge` or `vlan`. Undefined for `lo` and for devices that are not software devices. */
  readonly kind: string | undefined;
  readonly loopback: boolean;
  /**
   * True if the device is linked to a device in another namespace, usually the other end of a pair (veth, netkit).
   * The driver reports this with get_link_net() (kernel: struct rtnl_link_ops).
   */
  readonly linkedOutside: boolean;
}

export const LINK_REQUEST = encodeRequest(RTM_GETLINK, NLM_F_DUMP, linkRequestPayload());

function linkRequestPayload(): Uint8Array {
  const payload = new Uint8Array(IFINFOMSG_BYTES + 8);
  const view = new DataView(payload.buffer);
  view.setUint16(IFINFOMSG_BYTES, 8, true);
  view.setUint16(IFINFOMSG_BYTES + 2, IFLA_EXT_MASK, true);
  view.setUint32(IFINFOMSG_BYTES + 4, RTEXT_FILTER_SKIP_STATS, true);
  return payload;
}

export function decodeLinks(messages: Uint8Array, malformed: Malformed): LinkRow[] {
  const rows: LinkRow[] = [];
  for (const { type, payload } of decodeMessages(messages, malformed)) {
    const ifindex = u32(payload, INDEX);
    const flags = u32(payload, FLAGS);
    if (type !== RTM_NEWLINK) continue;
    const attributes = decodeAttributes(payload, IFINFOMSG_BYTES);
    const nameBytes = stringBytes(attributes.get(IFLA_IFNAME));
    if (ifindex === undefined || flags === undefined || nameBytes === undefined) {
      malformed('a device without its index or name');
      continue;
    }
    const info = attributes.get(IFLA_LINKINFO);
    const kind = info === undefined ? undefined : text(decodeAttributes(info).get(IFLA_INFO_KIND));
    // Zero means a tunnel that is not linked to any device. The destination of a tunnel is not its other end.
    const linkedOutside = attributes.has(IFLA_LINK_NETNSID) && (u32(attributes.get(IFLA_LINK)) ?? 0) > 0;
    rows.push({ ifindex, name: deviceName(nameBytes), kind, loopback: (flags & IFF_LOOPBACK) !== 0, linkedOutside });
  }
  return rows;
}
