import { Flags, FlagsGet } from 'netlink/dist/constants.js';
import * as structs from 'netlink/dist/rt/gen_structs.js';
import type { LinkAttrs } from 'netlink/dist/rt/ifla.js';
import * as rt from 'netlink/dist/rt/structs.js';
import { AttrStream, formatAttribute, formatMessage, pad, putString } from 'netlink/dist/structs.js';

/**
 * Uses the npm package `netlink` to encode netlink messages in the kernel's format, for tests of decoders. The
 * package's constants and structs were derived from the kernel's headers independently of ours. The package's socket
 * and native code are not loaded.
 */

const { MessageType } = structs;

export function join(...parts: readonly Uint8Array[]): Buffer<ArrayBuffer> {
  return Buffer.from(Uint8Array.from(Buffer.concat(parts)).buffer);
}

export function attribute(type: number, value: Uint8Array): Buffer {
  return join(...pad(formatAttribute({ type, data: value })));
}

export function numbers(...values: readonly number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer);
}

export const cString = putString;

/** @param flags NLM_F_… */
export function message(type: number, payload: Uint8Array, flags = 0): Buffer<ArrayBuffer> {
  return join(...pad(formatMessage({ type, flags, seq: 1, port: 0, data: payload })));
}

/** Returns a dump request. */
export function requestOf(type: number, ...payload: readonly Uint8Array[]): Buffer {
  return message(type, join(...payload), Flags.REQUEST | FlagsGet.DUMP);
}

function written(type: number, write: (out: AttrStream) => void): Buffer<ArrayBuffer> {
  const out = new AttrStream();
  write(out);
  return message(type, join(...out.bufs));
}

export function linkMessage(data: structs.Link, attrs: LinkAttrs, gone = false): Buffer {
  const type = gone ? MessageType.DELLINK : MessageType.NEWLINK;
  return written(type, (out) => rt.formatLinkMessage({ kind: 'link', data, attrs }, out));
}

/** Returns the attribute IFLA_LINKINFO, for which the package has no encoder. */
export function linkInfo(kind: string): Buffer {
  return attribute(1, cString(kind));
}

export function addressMessage(data: structs.Address, attrs: structs.AddressAttrs): Buffer {
  return written(MessageType.NEWADDR, (out) => rt.formatAddressMessage({ kind: 'address', data, attrs }, out));
}

export function routeMessage(data: structs.Route, attrs: structs.RouteAttrs): Buffer {
  return written(MessageType.NEWROUTE, (out) => rt.formatRouteMessage({ kind: 'route', data, attrs }, out));
}

export function ruleMessage(data: structs.Rule, attrs: structs.RuleAttrs): Buffer {
  return written(MessageType.NEWRULE, (out) => rt.formatRuleMessage({ kind: 'rule', data, attrs }, out));
}

export function neighbourMessage(data: structs.Neighbor, attrs: structs.NeighborAttrs): Buffer {
  return written(MessageType.NEWNEIGH, (out) => rt.formatNeighborMessage({ kind: 'neighbor', data, attrs }, out));
}

export function neighbourTableMessage(attrs: structs.NeighborTableAttrs): Buffer {
  return written(MessageType.NEWNEIGHTBL, (out) =>
    rt.formatNeighborTableMessage({ kind: 'neighborTable', data: {}, attrs }, out),
  );
}

export function qdiscMessage(data: structs.Tc, attrs: structs.TcAttrs): Buffer {
  return written(MessageType.NEWQDISC, (out) => rt.formatTcMessage({ kind: 'tc', data, attrs }, out));
}
