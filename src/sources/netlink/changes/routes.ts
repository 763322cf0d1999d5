import type { Malformed } from '../../errors.ts';
import {
  type Attributes,
  bytesOf,
  decodeAttributes,
  length,
  type Message,
  type Span,
  u8,
  u16,
  u32,
} from '../message.ts';
import { type Family, ipOf } from './family.ts';

/** A next hop of a route. */
export interface Hop {
  readonly gateway: string | undefined;
  readonly ifindex: number | undefined;
}

export interface Route {
  readonly family: Family;
  /** Destination network address: `0.0.0.0` or `::` for the default route. */
  readonly network: string;
  readonly prefix: number;
  readonly table: number;
  /** Identifies the route by family, table, destination, TOS, metric and source. */
  readonly key: string;
  readonly hops: readonly Hop[];
  /** All other properties of the route, as text for comparison. */
  readonly value: string;
}

/** struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags. */
const RTMSG = { bytes: 12, prefix: 1, sourcePrefix: 2, tos: 3, table: 4, type: 7, flags: 8 } as const;
/** Flag of cached routes (RTM_F_CLONED), each of which has a single destination. */
const RTM_F_CLONED = 0x200;
/** Table of local routes. The kernel changes it with each address, so its changes are reported as address changes. */
const RT_TABLE_LOCAL = 255;

const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTA_NH_ID = 30;

/** struct rtnexthop: length, flags, weight, index. */
const RTNEXTHOP = { bytes: 8, weight: 3, index: 4 } as const;
/** Size of the address family that precedes the address in RTA_VIA. */
const VIA_FAMILY_BYTES = 2;
const IPV4_BYTES = 4;

const NLM_F_REPLACE = 0x100;
const NLM_F_APPEND = 0x800;

const ANY: Readonly<Record<Family, string>> = { ipv4: '0.0.0.0', ipv6: '::' };

/**
 * Decodes a route. If `replaces` is true, the route replaces all routes with the same key.
 * @returns undefined for cached routes and routes in the table `local`
 */
export function decodeRoute(
  { payload, flags }: Message,
  family: Family,
  malformed: Malformed,
): { readonly route: Route; readonly replaces: boolean } | undefined {
  if (length(payload) < RTMSG.bytes) {
    malformed('a route without its header');
    return undefined;
  }
  const attributes = decodeAttributes(payload, RTMSG.bytes);
  const table = u32(attributes.get(RTA_TABLE)) ?? u8(payload, RTMSG.table) ?? 0;
  if (((u32(payload, RTMSG.flags) ?? 0) & RTM_F_CLONED) !== 0 || table === RT_TABLE_LOCAL) return undefined;
  const prefix = u8(payload, RTMSG.prefix) ?? 0;
  const network = attributes.has(RTA_DST) ? ipOf(attributes.get(RTA_DST), family) : ANY[family];
  const hops = hopsOf(attributes, family);
  if (network === undefined || hops === undefined) {
    malformed('a route whose destination or next hop is no address');
    return undefined;
  }
  const source = `${hex(attributes.get(RTA_SRC))}/${u8(payload, RTMSG.sourcePrefix)}`;
  const tos = u8(payload, RTMSG.tos);
  const route = {
    family,
    network,
    prefix,
    table,
    key: `${family} ${table} ${network}/${prefix} ${tos} ${u32(attributes.get(RTA_PRIORITY)) ?? 0} ${source}`,
    hops,
    value: [
      u8(payload, RTMSG.type),
      hex(attributes.get(RTA_PREFSRC)),
      hex(attributes.get(RTA_METRICS)),
      u32(attributes.get(RTA_NH_ID)),
      ...hops.map(({ gateway, ifindex, weight }) => `${gateway} ${ifindex} ${weight}`).sort(),
    ].join(),
  };
  // When hops are appended to an IPv6 route, the kernel reports the whole route with all of its hops (net/ipv6/route.c,
  // ip6_route_multipath_add()).
  const replaces = (flags & NLM_F_REPLACE) !== 0 || (family === 'ipv6' && (flags & NLM_F_APPEND) !== 0);
  return { route, replaces };
}

interface WeighedHop extends Hop {
  readonly weight: number;
}

/** Decodes the next hops; returns undefined if a gateway is malformed. */
function hopsOf(attributes: Attributes, family: Family): WeighedHop[] | undefined {
  const several = attributes.get(RTA_MULTIPATH);
  if (several === undefined) {
    const ifindex = u32(attributes.get(RTA_OIF));
    const gateway = gatewayOf(attributes, family);
    return gateway === false ? undefined : [{ gateway, ifindex, weight: 0 }];
  }
  const hops: WeighedHop[] = [];
  for (let at = several.start; at + RTNEXTHOP.bytes <= several.end; ) {
    const hop = { view: several.view, start: at, end: several.end };
    const bytes = u16(hop) ?? 0;
    if (bytes < RTNEXTHOP.bytes || bytes > several.end - at) return undefined;
    const gateway = gatewayOf(decodeAttributes({ ...hop, end: at + bytes }, RTNEXTHOP.bytes), family);
    if (gateway === false) return undefined;
    hops.push({ gateway, ifindex: u32(hop, RTNEXTHOP.index), weight: u8(hop, RTNEXTHOP.weight) ?? 0 });
    at += (bytes + 3) & ~3;
  }
  return hops;
}

/**
 * Decodes the gateway, which may be an IPv6 address even in an IPv4 route. Returns undefined if there is none, and
 * false if it is malformed.
 */
function gatewayOf(attributes: Attributes, family: Family): string | undefined | false {
  const via = attributes.get(RTA_VIA);
  if (via !== undefined) {
    const address = { ...via, start: Math.min(via.end, via.start + VIA_FAMILY_BYTES) };
    return ipOf(address, length(address) === IPV4_BYTES ? 'ipv4' : 'ipv6') ?? false;
  }
  const gateway = attributes.get(RTA_GATEWAY);
  return gateway === undefined ? undefined : (ipOf(gateway, family) ?? false);
}

function hex(span: Span | undefined): string {
  return span === undefined ? '' : Buffer.from(bytesOf(span)).toString('hex');
}
