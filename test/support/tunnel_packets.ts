import { ethertypeName, ipProtocolName } from '#core/protocol_names.ts';

/** Builds packets of tunnels, and decodes them independently of the agent. */

const u16 = (...values: readonly number[]) => Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
const u32 = (value: number) => u16(value >>> 16, value & 0xffff);
const bytesOf = (ip: string) =>
  ip.includes(':')
    ? u16(...expand(ip).map((part) => Number.parseInt(part, 16)))
    : Buffer.from(ip.split('.').map(Number));

function expand(ip: string): string[] {
  const [head = '', tail = ''] = ip.split('::');
  const [first, last] = [head, tail].map((part) => part.split(':').filter(Boolean)) as [string[], string[]];
  return [...first, ...Array<string>(8 - first.length - last.length).fill('0'), ...last];
}

export const UDP = 17;
export const IPIP = 4;
export const IPV6 = 41;
export const GRE = 47;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_FRAME = 0x6558;

export function ipv4(from: string, to: string, protocol: number, payload: Buffer): Buffer {
  const header = [
    u16(0x4500, 20 + payload.length, 1, 0),
    Buffer.from([64, protocol, 0, 0]),
    bytesOf(from),
    bytesOf(to),
  ];
  return Buffer.concat([...header, payload]);
}

export function ipv6(from: string, to: string, protocol: number, payload: Buffer): Buffer {
  const header = [u32(0x60000000), u16(payload.length), Buffer.from([protocol, 64]), bytesOf(from), bytesOf(to)];
  return Buffer.concat([...header, payload]);
}

export function udp(from: number, to: number, payload: Buffer): Buffer {
  return Buffer.concat([u16(from, to, 8 + payload.length, 0), payload]);
}

export function tcp(from: number, to: number): Buffer {
  return Buffer.concat([u16(from, to), u32(1), u32(1), u16(0x5002, 1_000, 0, 0)]);
}

export function frame(ethertype: number, payload: Buffer, tags: readonly number[] = []): Buffer {
  const tagged = tags.map((tag) => u16(0x8100, tag));
  return Buffer.concat([Buffer.alloc(12, 2), ...tagged, u16(ethertype), payload]);
}

export const vxlan = (id: number, payload: Buffer, flags = 0x08) =>
  Buffer.concat([u32(flags * 2 ** 24), u32(id * 256), payload]);
export const geneve = (id: number, ethertype: number, payload: Buffer, options = 0) =>
  Buffer.concat([Buffer.from([options / 4, 0]), u16(ethertype), u32(id * 256), Buffer.alloc(options), payload]);
/** @param words optional words after the header */
export const gre = (flags: number, ethertype: number, words: readonly number[], payload: Buffer) =>
  Buffer.concat([u16(flags, ethertype), ...words.map(u32), payload]);

/** Addresses in the tunnels. */
const [POD4, PEER4, POD6, PEER6] = ['10.60.1.1', '10.60.2.2', 'fd60:1::1', 'fd60:2::2'] as const;
const TCP4 = ipv4(POD4, PEER4, 6, tcp(40_111, 8_080));
const UDP6 = ipv6(POD6, PEER6, UDP, udp(40_222, 53, Buffer.from('q')));
const IN4 = { innerSrc: `${POD4}:40111`, innerDst: `${PEER4}:8080`, innerProtocol: 'tcp' };
const IN6 = { innerSrc: `[${POD6}]:40222`, innerDst: `[${PEER6}]:53`, innerProtocol: 'udp' };

export interface TunnelCase {
  readonly title: string;
  /** Protocol of the outer packet. */
  readonly protocol: number;
  readonly payload: Buffer;
  /** Fields that the event must have, and no others about the tunnel. */
  readonly fields: Readonly<Record<string, unknown>>;
}

const inVxlan = (port: number, payload: Buffer) => udp(50_000, port, payload);

export const TUNNEL_CASES: readonly TunnelCase[] = [
  {
    title: 'VXLAN with IPv4',
    protocol: UDP,
    payload: inVxlan(4_789, vxlan(7, frame(ETHERTYPE_IPV4, TCP4))),
    fields: { tunnel: 'vxlan', tunnelId: 7, ...IN4 },
  },
  {
    title: "VXLAN at the kernel's port, with IPv6",
    protocol: UDP,
    payload: inVxlan(8_472, vxlan(0xff_ff_ff, frame(ETHERTYPE_IPV6, UDP6))),
    fields: { tunnel: 'vxlan', tunnelId: 0xff_ff_ff, ...IN6 },
  },
  {
    title: 'VXLAN with VLAN tags',
    protocol: UDP,
    payload: inVxlan(4_789, vxlan(7, frame(ETHERTYPE_IPV4, TCP4, [5, 6]))),
    fields: { tunnel: 'vxlan', tunnelId: 7, ...IN4 },
  },
  {
    title: 'VXLAN with more VLAN tags than are read',
    protocol: UDP,
    payload: inVxlan(4_789, vxlan(7, frame(ETHERTYPE_IPV4, TCP4, [5, 6, 7]))),
    fields: { tunnel: 'vxlan', tunnelId: 7, innerProtocol: 'vlan' },
  },
  {
    title: 'VXLAN with ARP',
    protocol: UDP,
    payload: inVxlan(4_789, vxlan(7, frame(0x0806, Buffer.alloc(28, 9)))),
    fields: { tunnel: 'vxlan', tunnelId: 7, innerProtocol: 'arp' },
  },
  {
    title: 'a datagram without the flag of VXLAN',
    protocol: UDP,
    payload: inVxlan(4_789, vxlan(7, frame(ETHERTYPE_IPV4, TCP4), 0)),
    fields: {},
  },
  {
    title: 'Geneve with options',
    protocol: UDP,
    payload: udp(50_000, 6_081, geneve(9, ETHERTYPE_FRAME, frame(ETHERTYPE_IPV4, TCP4), 12)),
    fields: { tunnel: 'geneve', tunnelId: 9, ...IN4 },
  },
  {
    title: 'Geneve with an IP packet',
    protocol: UDP,
    payload: udp(50_000, 6_081, geneve(9, ETHERTYPE_IPV6, UDP6)),
    fields: { tunnel: 'geneve', tunnelId: 9, ...IN6 },
  },
  { title: 'IPIP', protocol: IPIP, payload: TCP4, fields: { tunnel: 'ipip', ...IN4 } },
  { title: '6in4', protocol: IPV6, payload: UDP6, fields: { tunnel: 'ip6', ...IN6 } },
  {
    title: 'GRE',
    protocol: GRE,
    payload: gre(0, ETHERTYPE_IPV4, [], TCP4),
    fields: { tunnel: 'gre', ...IN4 },
  },
  {
    title: 'GRE with checksum, key and sequence number, and a frame',
    protocol: GRE,
    payload: gre(0xb000, ETHERTYPE_FRAME, [0, 77, 3], frame(ETHERTYPE_IPV4, TCP4)),
    fields: { tunnel: 'gre', tunnelId: 77, ...IN4 },
  },
  { title: 'PPTP', protocol: GRE, payload: gre(0x2001, 0x880b, [1], TCP4), fields: {} },
  {
    title: 'a datagram to another port',
    protocol: UDP,
    payload: udp(50_000, 4_790, vxlan(7, frame(ETHERTYPE_IPV4, TCP4))),
    fields: {},
  },
];

type Fields = Record<string, unknown>;

/**
 * Decodes the tunnel in an IPv4 packet, without any byte behind its end, its length field, or that of UDP.
 * @param packet bytes from the IP header on, which may include padding
 */
export function decodeOuter(packet: Buffer): Fields {
  const total = packet.readUInt16BE(2) || packet.length;
  const bytes = packet.subarray(0, total);
  const at = ((packet[0] ?? 0) & 0xf) * 4;
  const body = bytes.subarray(at);
  const isLater = (packet.readUInt16BE(6) & 0x1fff) !== 0;
  if (isLater) return {};
  switch (packet[9]) {
    case IPIP:
      return { tunnel: 'ipip', ...decodeInner(ETHERTYPE_IPV4, body) };
    case IPV6:
      return { tunnel: 'ip6', ...decodeInner(ETHERTYPE_IPV6, body) };
    case GRE:
      return decodeGre(body);
    case UDP:
      return decodeUdp(body);
    default:
      return {};
  }
}

function decodeGre(body: Buffer): Fields {
  if (body.length < 4) return {};
  const flags = body.readUInt16BE(0);
  if ((flags & 0x4007) !== 0) return {};
  let at = 4 + (flags & 0x8000 ? 4 : 0);
  const fields: Fields = { tunnel: 'gre' };
  if (flags & 0x2000) {
    if (body.length < at + 4) return fields;
    fields['tunnelId'] = body.readUInt32BE(at);
    at += 4;
  }
  if (flags & 0x1000) at += 4;
  return { ...fields, ...decodeInner(body.readUInt16BE(2), body.subarray(at)) };
}

function decodeUdp(all: Buffer): Fields {
  if (all.length < 8) return {};
  const port = all.readUInt16BE(2);
  const body = all.subarray(8, all.readUInt16BE(4) || all.length);
  if (body.length < 8) return {};
  const tunnelId = body.readUInt32BE(4) >>> 8;
  const first = body[0] ?? 0;
  if (port === 6_081 && first < 0x40) {
    const inner = decodeInner(body.readUInt16BE(2), body.subarray(8 + (first & 0x3f) * 4));
    return { tunnel: 'geneve', tunnelId, ...inner };
  }
  if ((port !== 4_789 && port !== 8_472) || (first & 0x08) === 0) return {};
  return { tunnel: 'vxlan', tunnelId, ...decodeInner(ETHERTYPE_FRAME, body.subarray(8)) };
}

function decodeInner(ethertype: number, body: Buffer): Fields {
  if (ethertype === 0) return {};
  if (ethertype === ETHERTYPE_FRAME) {
    let at = 12;
    let type = 0;
    for (let tags = 0; tags <= 2; tags++) {
      if (body.length < at + 2) return {};
      type = body.readUInt16BE(at);
      at += 2;
      if (type !== 0x8100 && type !== 0x88a8) break;
      at += 2;
    }
    return type === ETHERTYPE_FRAME ? { innerProtocol: ethertypeName(type) } : decodeInner(type, body.subarray(at));
  }
  if (ethertype === ETHERTYPE_IPV4 && body.length >= 20 && (body[0] ?? 0) >> 4 === 4) {
    const total = body.readUInt16BE(2) || body.length;
    const isLater = (body.readUInt16BE(6) & 0x1fff) !== 0;
    const rest = isLater ? Buffer.alloc(0) : body.subarray(((body[0] ?? 0) & 0xf) * 4, total);
    const [src, dst] = [12, 16].map((at) => [...body.subarray(at, at + 4)].join('.')) as [string, string];
    return ends(body[9] ?? 0, src, dst, rest);
  }
  // The packets with IPv6 have no extension headers.
  if (ethertype === ETHERTYPE_IPV6 && body.length >= 40 && (body[0] ?? 0) >> 4 === 6) {
    const rest = body.subarray(40, 40 + (body.readUInt16BE(4) || body.length));
    const groups = (at: number) =>
      Array.from({ length: 8 }, (_, group) => body.readUInt16BE(at + 2 * group).toString(16));
    const [src, dst] = [8, 24].map((at) => new URL(`http://[${groups(at).join(':')}]`).hostname) as [string, string];
    return ends(body[6] ?? 0, src, dst, rest);
  }
  return { innerProtocol: ethertypeName(ethertype) };
}

function ends(protocol: number, src: string, dst: string, rest: Buffer): Fields {
  const hasPorts = [6, 17, 33, 132, 136].includes(protocol) && rest.length >= 4;
  const [from, to] = hasPorts ? [rest.readUInt16BE(0), rest.readUInt16BE(2)] : [0, 0];
  const named = from !== 0 || to !== 0;
  return {
    innerSrc: named ? `${src}:${from}` : src.replace(/[[\]]/g, ''),
    innerDst: named ? `${dst}:${to}` : dst.replace(/[[\]]/g, ''),
    innerProtocol: ipProtocolName(protocol),
  };
}
