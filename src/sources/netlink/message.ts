/**
 * Encodes and decodes netlink messages (man 7 netlink; kernel: include/uapi/linux/netlink.h). A message consists of a
 * 16-byte header and a payload, and an attribute of a 4-byte header and a value. Both are aligned to four bytes. All
 * supported machines are little-endian.
 */

import { type Counter, readCounter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';

/** Protocols of netlink sockets (NETLINK_…). */
export const NETLINK = { route: 0, sockDiag: 4, netfilter: 12, rdma: 20 } as const;

const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;

export const NLM_F_REQUEST = 0x001;
export const NLM_F_DUMP = 0x300;

/** Excludes the two high bits of nla_type, which are flags. */
const NLA_TYPE_MASK = 0x3fff;

const decoder = new TextDecoder('utf-8');

/** A part of a netlink message: bytes from `start` to `end` of a buffer. */
export interface Span {
  readonly view: DataView;
  readonly start: number;
  readonly end: number;
}

export interface Message {
  readonly type: number;
  /** NLM_F_… flags. In a notification, these are the flags of the request that caused it. */
  readonly flags: number;
  readonly payload: Span;
}

/** Encodes a request. @param payload family-specific header and attributes */
export function encodeRequest(type: number, flags: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags | NLM_F_REQUEST, true);
  view.setUint32(8, 1, true); // constant because each request has its own socket
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/**
 * Yields the messages in a buffer, in order. Stops at a message with an invalid length because the position of the next
 * one is then unknown.
 */
export function* decodeMessages(bytes: Uint8Array, malformed: Malformed): Generator<Message> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const rest = bytes.length - at;
    const length = rest < HEADER_BYTES ? 0 : view.getUint32(at, true);
    if (length < HEADER_BYTES || length > rest) {
      malformed(`a message claims ${length} bytes, but ${rest} bytes remain`);
      return;
    }
    const payload = { view, start: at + HEADER_BYTES, end: at + length };
    yield { type: view.getUint16(at + 4, true), flags: view.getUint16(at + 6, true), payload };
    at += align(length);
  }
}

/** Calls `visit` with each attribute in a span, in order. Stops at an attribute with an invalid length. */
export function visitAttributes({ view, start, end }: Span, skip: number, visit: (type: number, value: Span) => void) {
  for (let at = start + align(skip); at + ATTRIBUTE_HEADER_BYTES <= end; ) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER_BYTES || length > end - at) return;
    const type = view.getUint16(at + 2, true) & NLA_TYPE_MASK;
    visit(type, { view, start: at + ATTRIBUTE_HEADER_BYTES, end: at + length });
    at += align(length);
  }
}

/** Attributes by type. */
export type Attributes = ReadonlyMap<number, Span>;

/**
 * Returns the attributes in a span by type; none if the span is undefined. If a type occurs more than once, the last
 * one wins.
 */
export function decodeAttributes(span: Span | undefined, skip = 0): Attributes {
  const attributes = new Map<number, Span>();
  if (span !== undefined) visitAttributes(span, skip, (type, value) => attributes.set(type, value));
  return attributes;
}

export interface MessageObject {
  /** Family-specific header, followed by the attributes. */
  readonly payload: Span;
  readonly attributes: Attributes;
}

/** Yields the messages of one type, in order, with the attributes that follow the family-specific header. */
export function* decodeObjects(
  messages: Uint8Array,
  wanted: number,
  headerBytes: number,
  malformed: Malformed,
): Generator<MessageObject> {
  for (const { type, payload } of decodeMessages(messages, malformed)) {
    if (type === wanted) yield { payload, attributes: decodeAttributes(payload, headerBytes) };
  }
}

function align(length: number): number {
  return (length + 3) & ~3;
}

export function length(span: Span): number {
  return span.end - span.start;
}

/** Reads a u32 at an offset in the span; returns undefined if the span is too short. */
export function u32(span: Span | undefined, offset = 0): number | undefined {
  return span === undefined || length(span) < offset + 4 ? undefined : span.view.getUint32(span.start + offset, true);
}

/** Reads a big-endian u32, as used in netfilter attributes; returns undefined if the span does not have four bytes. */
export function u32be(span: Span | undefined): number | undefined {
  return span === undefined || length(span) !== 4 ? undefined : span.view.getUint32(span.start, false);
}

export function u64(span: Span | undefined, offset = 0): Counter | undefined {
  return span === undefined || length(span) < offset + 8 ? undefined : readCounter(span.view, span.start + offset);
}

export function u16(span: Span | undefined, offset = 0): number | undefined {
  return span === undefined || length(span) < offset + 2 ? undefined : span.view.getUint16(span.start + offset, true);
}

export function u8(span: Span | undefined, offset = 0): number | undefined {
  return span === undefined || length(span) < offset + 1 ? undefined : span.view.getUint8(span.start + offset);
}

/** Reads a string up to its first NUL. */
export function text(span: Span | undefined): string | undefined {
  const bytes = stringBytes(span);
  return bytes && decoder.decode(bytes);
}

/** Reads a NUL-terminated string as bytes, because it may not be valid UTF-8. */
export function stringBytes(span: Span | undefined): Uint8Array | undefined {
  if (span === undefined) return undefined;
  const bytes = bytesOf(span);
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}

export function bytesOf(span: Span): Uint8Array {
  return new Uint8Array(span.view.buffer, span.view.byteOffset + span.start, length(span));
}
