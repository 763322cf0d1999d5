import type { Malformed } from '../../errors.ts';
import { IFADDRMSG, localAddress } from '../address.ts';
import { type Device, deviceOf, IFF_UP, IFINFOMSG, IFLA } from '../link.ts';
import {
  bytesOf,
  decodeAttributes,
  decodeMessages,
  length,
  type Message,
  type Span,
  u8,
  u16,
  u32,
} from '../message.ts';
import { type Family, ipOf } from './family.ts';
import { decodeRoute, type Route } from './routes.ts';

/**
 * Decodes rtnetlink messages about devices, addresses, routes, rules and neighbours (man 7 rtnetlink). Notifications
 * and dumps have the same format. Kernel: net/core/{rtnetlink,neighbour,fib_rules}.c,
 * net/ipv4/{devinet,fib_semantics}.c, net/ipv6/{addrconf,route}.c.
 */

/** Message types RTM_NEW…. RTM_DEL… is higher by one, and RTM_GET… by two. */
export const RTM = { link: 16, address: 20, route: 24, neighbour: 28, rule: 32 } as const;
export type What = keyof typeof RTM;

const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;

/** A device. The kind of a tun device with Ethernet frames is `tap`. */
export interface Link extends Device {
  /** True if the device is administratively up (IFF_UP). */
  readonly up: boolean;
  /** True if the device has a carrier. Only meaningful while the device is up. */
  readonly carrier: boolean;
  readonly mtu: number;
}

/** A notification or a row of a dump: an object that exists, or one that was removed. */
export type Notice =
  | { readonly what: 'link'; readonly gone: boolean; readonly link: Link }
  | { readonly what: 'address'; readonly gone: boolean; readonly family: Family; readonly key: string }
  | { readonly what: 'route'; readonly gone: boolean; readonly replaces: boolean; readonly route: Route }
  | { readonly what: 'rule'; readonly gone: boolean; readonly family: Family; readonly key: string }
  | {
      readonly what: 'neighbour';
      readonly gone: boolean;
      readonly family: Family;
      readonly ifindex: number;
      readonly address: string;
      readonly failed: boolean;
    };

/** Device type that distinguishes taps, as the kernel reports the kind `tun` for them as well. */
const ARPHRD_ETHER = 1;

/** struct fib_rule_hdr: family, lengths, tos, table, reserved, action, flags. */
const RULE_HEADER = { bytes: 12, flags: 8 } as const;

/** struct ndmsg: family, padding, index, state, flags, type. */
const NDMSG = { bytes: 12, index: 4, state: 8 } as const;
const NUD_FAILED = 0x20;
const NDA_DST = 1;

/**
 * Decodes messages in order. Skips messages of other families, such as those about bridge ports and multicast routing.
 */
export function decodeNotices(messages: Uint8Array, malformed: Malformed): Notice[] {
  const notices: Notice[] = [];
  for (const message of decodeMessages(messages, malformed)) {
    const notice = decodeNotice(message, malformed);
    if (notice !== undefined) notices.push(notice);
  }
  return notices;
}

function decodeNotice(message: Message, malformed: Malformed): Notice | undefined {
  const { type, payload } = message;
  const gone = (type & 3) === 1;
  const family = u8(payload);
  if ((type & 3) > 1) return undefined;
  if ((type & ~3) === RTM.link) return family === AF_UNSPEC ? decodeLink(payload, gone, malformed) : undefined;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const named = family === AF_INET ? 'ipv4' : 'ipv6';
  switch (type & ~3) {
    case RTM.address:
      return decodeAddress(payload, gone, named, malformed);
    case RTM.route:
      return decodeRouteNotice(message, gone, named, malformed);
    case RTM.neighbour:
      return decodeNeighbour(payload, gone, named, malformed);
    case RTM.rule:
      return decodeRule(payload, gone, named, malformed);
    default:
      return undefined;
  }
}

function decodeLink(payload: Span, gone: boolean, malformed: Malformed): Notice | undefined {
  const attributes = decodeAttributes(payload, IFINFOMSG.bytes);
  const mtu = u32(attributes.get(IFLA.mtu));
  // Messages about events of wireless drivers have neither a name nor an MTU.
  if (!attributes.has(IFLA.ifname) && mtu === undefined) return undefined;
  const device = deviceOf({ payload, attributes });
  if (device === undefined || mtu === undefined) {
    malformed('a device without its index, name or MTU');
    return undefined;
  }
  const isTap = device.kind === 'tun' && u16(payload, IFINFOMSG.type) === ARPHRD_ETHER;
  const link = {
    ...device,
    kind: isTap ? 'tap' : device.kind,
    up: ((u32(payload, IFINFOMSG.flags) ?? 0) & IFF_UP) !== 0,
    carrier: u8(attributes.get(IFLA.carrier)) !== 0,
    mtu,
  };
  return { what: 'link', gone, link };
}

function decodeRouteNotice(message: Message, gone: boolean, family: Family, malformed: Malformed): Notice | undefined {
  const decoded = decodeRoute(message, family, malformed);
  return decoded && { what: 'route', gone, ...decoded };
}

function decodeAddress(payload: Span, gone: boolean, family: Family, malformed: Malformed): Notice | undefined {
  const attributes = decodeAttributes(payload, IFADDRMSG.bytes);
  const prefix = u8(payload, IFADDRMSG.prefix);
  const ifindex = u32(payload, IFADDRMSG.index);
  const address = ipOf(localAddress(attributes), family);
  if (ifindex === undefined || address === undefined) {
    malformed('an address without its device or its bytes');
    return undefined;
  }
  return { what: 'address', gone, family, key: `${ifindex} ${address}/${prefix}` };
}

/** Decodes a rule. The flags are not part of the key because they change when the rule's device is added or removed. */
function decodeRule(payload: Span, gone: boolean, family: Family, malformed: Malformed): Notice | undefined {
  if (length(payload) < RULE_HEADER.bytes) {
    malformed('a rule without its header');
    return undefined;
  }
  const bytes = Buffer.from(bytesOf(payload));
  const key = bytes.toString('hex', 0, RULE_HEADER.flags) + bytes.toString('hex', RULE_HEADER.bytes);
  return { what: 'rule', gone, family, key };
}

function decodeNeighbour(payload: Span, gone: boolean, family: Family, malformed: Malformed): Notice | undefined {
  const ifindex = u32(payload, NDMSG.index);
  const state = u16(payload, NDMSG.state);
  const address = ipOf(decodeAttributes(payload, NDMSG.bytes).get(NDA_DST), family);
  if (ifindex === undefined || state === undefined || address === undefined) {
    malformed('a neighbour without its device, state or address');
    return undefined;
  }
  return { what: 'neighbour', gone, family, ifindex, address, failed: (state & NUD_FAILED) !== 0 };
}
