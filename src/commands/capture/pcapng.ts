/**
 * Encodes blocks of pcapng (draft-ietf-opsawg-pcapng). Numbers are in little-endian order, like those of all machines that
 * the agent runs on, and times are in nanoseconds.
 */

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const INTERFACE_STATISTICS = 5;
/** Type of a block with a packet. */
export const ENHANCED_PACKET = 6;

const BYTE_ORDER = 0x1a2b3c4d;
const MAJOR_VERSION = 1;
const UNKNOWN_LENGTH = -1n;
/** Option `if_tsresol`: times are counts of 10⁻⁹ s. */
const NANOSECONDS = 9;

const COMMENT = 1;
const SECTION = { os: 3, application: 4 } as const;
const INTERFACE = { name: 2, description: 3, resolution: 9, filter: 11, os: 12 } as const;
const STATISTICS = { start: 2, end: 3, received: 4, dropped: 5, delivered: 8 } as const;

/** Options whose text is longer are cut. The format allows 65,535 bytes. */
const TEXT_BYTES_MAX = 1_000;

interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}

export interface SectionHeader {
  readonly os: string;
  readonly application: string;
  readonly comment: string;
}

export interface InterfaceDescription {
  readonly linkType: number;
  /** Maximum number of bytes of a packet. */
  readonly snap: number;
  readonly name: string;
  readonly description: string;
  readonly filter?: string | undefined;
  readonly os: string;
}

export interface InterfaceStatistics {
  readonly interface: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** Packets that passed the filter, including dropped ones; undefined if it is known only for several interfaces together. */
  readonly received?: number | undefined;
  /** Packets that were lost for lack of room. */
  readonly dropped?: number | undefined;
  /** Packets of this interface in the file. */
  readonly delivered: number;
  readonly comment?: string | undefined;
}

export interface EnhancedPacket {
  readonly interface: number;
  readonly timeNs: bigint;
  /** Original length in bytes. */
  readonly length: number;
  readonly bytes: Uint8Array;
  readonly comment: string;
}

export function sectionHeader({ os, application, comment }: SectionHeader): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32LE(BYTE_ORDER, 0);
  head.writeUInt16LE(MAJOR_VERSION, 4);
  head.writeBigInt64LE(UNKNOWN_LENGTH, 8);
  return block(SECTION_HEADER, head, [
    text(COMMENT, comment),
    text(SECTION.os, os),
    text(SECTION.application, application),
  ]);
}

export function interfaceDescription(described: InterfaceDescription): Buffer {
  const { linkType, snap, name, description, filter = '', os } = described;
  const head = Buffer.alloc(8);
  head.writeUInt16LE(linkType, 0);
  head.writeUInt32LE(snap, 4);
  // A filter starts with a byte that says whether it is text or a program.
  const filters = filter === '' ? [] : [text(INTERFACE.filter, `\0${filter}`)];
  return block(INTERFACE_DESCRIPTION, head, [
    text(INTERFACE.name, name),
    text(INTERFACE.description, description),
    { code: INTERFACE.resolution, value: Uint8Array.of(NANOSECONDS) },
    ...filters,
    text(INTERFACE.os, os),
  ]);
}

export function interfaceStatistics(statistics: InterfaceStatistics): Buffer {
  const { interface: id, startNs, endNs, received, dropped, delivered, comment } = statistics;
  const head = Buffer.alloc(12);
  head.writeUInt32LE(id, 0);
  time(endNs).copy(head, 4);
  const counts = [
    { code: STATISTICS.received, count: received },
    { code: STATISTICS.dropped, count: dropped },
    { code: STATISTICS.delivered, count: delivered },
  ];
  return block(INTERFACE_STATISTICS, head, [
    ...(comment === undefined ? [] : [text(COMMENT, comment)]),
    { code: STATISTICS.start, value: time(startNs) },
    { code: STATISTICS.end, value: time(endNs) },
    ...counts.flatMap(({ code, count }) => (count === undefined ? [] : [{ code, value: u64(count) }])),
  ]);
}

export function enhancedPacket({ interface: id, timeNs, length, bytes, comment }: EnhancedPacket): Buffer {
  const padded = padding(bytes.length);
  const head = Buffer.alloc(20 + padded);
  head.writeUInt32LE(id, 0);
  time(timeNs).copy(head, 4);
  head.writeUInt32LE(bytes.length, 12);
  head.writeUInt32LE(length, 16);
  head.set(bytes, 20);
  return block(ENHANCED_PACKET, head, [text(COMMENT, comment)]);
}

/** Encodes a block. `body` must be a multiple of four bytes. */
function block(type: number, body: Buffer, options: readonly Option[]): Buffer {
  const optionBytes = options.reduce((sum, { value }) => sum + 4 + padding(value.length), 4);
  const total = 12 + body.length + optionBytes;
  const bytes = Buffer.alloc(total);
  bytes.writeUInt32LE(type, 0);
  bytes.writeUInt32LE(total, 4);
  body.copy(bytes, 8);
  let at = 8 + body.length;
  for (const { code, value } of options) {
    bytes.writeUInt16LE(code, at);
    bytes.writeUInt16LE(value.length, at + 2);
    bytes.set(value, at + 4);
    at += 4 + padding(value.length);
  }
  // The options end with one of code 0, which is already in the buffer.
  bytes.writeUInt32LE(total, total - 4);
  return bytes;
}

function padding(bytes: number): number {
  return (bytes + 3) & ~3;
}

function text(code: number, value: string): Option {
  const bytes = Buffer.from(value);
  let length = Math.min(bytes.length, TEXT_BYTES_MAX);
  // Does not cut inside a character, whose later bytes start with the bits 10.
  while (length < bytes.length && ((bytes[length] ?? 0) & 0xc0) === 0x80) length--;
  return { code, value: bytes.subarray(0, length) };
}

/** Encodes a time: its upper 32 bits, and then its lower 32 bits. */
function time(ns: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(Number(ns >> 32n), 0);
  bytes.writeUInt32LE(Number(ns & 0xffff_ffffn), 4);
  return bytes;
}

function u64(count: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(count));
  return bytes;
}
