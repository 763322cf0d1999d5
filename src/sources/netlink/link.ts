import { deviceName } from '#core/device_name.ts';
import type { Malformed } from '../errors.ts';
import {
  decodeAttributes,
  decodeObjects,
  encodeRequest,
  type MessageObject,
  NLM_F_DUMP,
  stringBytes,
  text,
  u32,
} from './message.ts';

/**
 * Reads network devices with RTM_GETLINK (man 7 rtnetlink). Kernel: net/core/rtnetlink.c, rtnl_fill_ifinfo();
 * include/uapi/linux/if_link.h.
 */

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;

/** struct ifinfomsg: family, padding, type, index, flags, change. */
export const IFINFOMSG = { bytes: 16, type: 2, index: 4, flags: 8 } as const;
export const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;

/** IFLA_…: attributes of a device. */
export const IFLA = { ifname: 3, mtu: 4, link: 5, linkinfo: 18, extMask: 29, carrier: 33, linkNetnsid: 37 } as const;
const IFLA_INFO_KIND = 1;
/** Flag that omits the statistics, which would make up 90% of the response. */
const RTEXT_FILTER_SKIP_STATS = 0x8;

export interface Device {
  readonly ifindex: number;
  readonly name: string;
  /** Kind of a software device, such as `veth`, `bridge` or `vlan`; undefined for `lo` and all other devices. */
  readonly kind: string | undefined;
  readonly loopback: boolean;
}

export interface LinkRow extends Device {
  /**
   * True if the device is linked to a device in another namespace, usually the peer in a pair (veth, netkit). The
   * driver reports this with get_link_net() (kernel: struct rtnl_link_ops).
   */
  readonly linkedOutside: boolean;
}

export const LINK_REQUEST = encodeRequest(RTM_GETLINK, NLM_F_DUMP, linkRequestPayload());

function linkRequestPayload(): Uint8Array {
  const payload = new Uint8Array(IFINFOMSG.bytes + 8);
  const view = new DataView(payload.buffer);
  view.setUint16(IFINFOMSG.bytes, 8, true);
  view.setUint16(IFINFOMSG.bytes + 2, IFLA.extMask, true);
  view.setUint32(IFINFOMSG.bytes + 4, RTEXT_FILTER_SKIP_STATS, true);
  return payload;
}

export function decodeLinks(messages: Uint8Array, malformed: Malformed): LinkRow[] {
  const rows: LinkRow[] = [];
  for (const message of decodeObjects(messages, RTM_NEWLINK, IFINFOMSG.bytes, malformed)) {
    const device = deviceOf(message);
    if (device === undefined) {
      malformed('a device without its index or name');
      continue;
    }
    const { attributes } = message;
    // A tunnel that is not bound to a device has link 0. Its IFLA_LINK_NETNSID identifies the namespace that carries
    // its packets and not that of a linked device.
    const linkedOutside = attributes.has(IFLA.linkNetnsid) && (u32(attributes.get(IFLA.link)) ?? 0) > 0;
    rows.push({ ...device, linkedOutside });
  }
  return rows;
}

/** Decodes a device; returns undefined if its index, flags or name is missing. */
export function deviceOf({ payload, attributes }: MessageObject): Device | undefined {
  const ifindex = u32(payload, IFINFOMSG.index);
  const flags = u32(payload, IFINFOMSG.flags);
  const name = stringBytes(attributes.get(IFLA.ifname));
  if (ifindex === undefined || flags === undefined || name === undefined) return undefined;
  const kind = text(decodeAttributes(attributes.get(IFLA.linkinfo)).get(IFLA_INFO_KIND));
  return { ifindex, name: deviceName(name), kind, loopback: (flags & IFF_LOOPBACK) !== 0 };
}
