import { formatIp } from '#core/address.ts';
import type { ResolvedName } from '#probe/peer_names.ts';

/** Reads the addresses in DNS answers (RFC 1035, section 4.1). Any byte may be hostile. */

const HEADER = 12;
const NAME_BYTES_MAX = 255;
const LABEL_BYTES_MAX = 63;
/** The two highest bits of a length that is a pointer. */
const POINTER = 0xc0;
const CLASS_IN = 1;
const TYPE_CNAME = 5;
/** Length of an address by the type of its record: A and AAAA. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = { 1: 4, 28: 16 };
/** Names of hosts (RFC 1123), and those with underscores, which many networks use. Others are never shown. */
const HOST_NAME = /^(?!.{254})[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;

/** Content of an answer. The fault is `malformed` if it is not an answer that resolvers accept, `cut` if addresses are missing. */
export interface ReadAnswer {
  /** Undefined without any address. */
  readonly resolved: ResolvedName | undefined;
  readonly fault: 'malformed' | 'cut' | undefined;
}

/** Thrown where bytes are missing at the end. */
class Ends extends Error {}
/** Thrown where the bytes are no DNS message. */
class Malformed extends Error {}

/**
 * Returns the addresses of the name that was asked for: those of the name itself, or of the name at the end of a chain
 * of CNAME records. Other records of the answer may concern any name, so they are not used.
 * @param message start of a message with one question
 * @param length length of the whole message
 */
export function readAddresses(message: Uint8Array, length: number): ReadAnswer {
  const found: Found = { name: undefined, ips: new Set(), ttlSeconds: Number.POSITIVE_INFINITY };
  let fault: ReadAnswer['fault'];
  try {
    read(message, found);
  } catch (error) {
    if (!(error instanceof Ends || error instanceof Malformed)) throw error;
    fault = error instanceof Ends && length > message.length ? 'cut' : 'malformed';
  }
  const { name, ips, ttlSeconds } = found;
  const isNamed = fault !== 'malformed' && name !== undefined && ips.size > 0;
  return { resolved: isNamed ? { name, ips: [...ips], ttlSeconds } : undefined, fault };
}

interface Found {
  name: string | undefined;
  readonly ips: Set<string>;
  ttlSeconds: number;
}

/** @throws {Ends | Malformed} after what could be read was added to `found` */
function read(message: Uint8Array, found: Found): void {
  if (message.length < HEADER) throw new Ends();
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const question = nameAt(message, HEADER);
  if (question.end + 4 > message.length) throw new Ends();
  const qtype = view.getUint16(question.end);
  const bytes = ADDRESS_BYTES[qtype];
  if (view.getUint16(4) !== 1 || bytes === undefined || !HOST_NAME.test(question.name)) throw new Malformed();
  found.name = question.name;
  let owner = question.name;
  let at = question.end + 4;
  // A record takes at least 11 bytes, so a wrong count does not prolong this.
  for (let left = view.getUint16(6); left > 0; left--) {
    const record = recordAt(message, view, at);
    at = record.end;
    if (record.class !== CLASS_IN || record.name !== owner) continue;
    if (record.type === TYPE_CNAME) owner = nameAt(message, record.data).name;
    else if (record.type === qtype && record.bytes !== bytes) throw new Malformed();
    else if (record.type === qtype) found.ips.add(formatIp(message.subarray(record.data, record.data + bytes)));
    found.ttlSeconds = Math.min(found.ttlSeconds, record.ttlSeconds);
  }
}

interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly ttlSeconds: number;
  /** Offset of the data, and their length. */
  readonly data: number;
  readonly bytes: number;
  readonly end: number;
}

/** @throws {Ends | Malformed} */
function recordAt(message: Uint8Array, view: DataView, at: number): DnsRecord {
  const { name, end } = nameAt(message, at);
  const data = end + 10;
  if (data > message.length) throw new Ends();
  const bytes = view.getUint16(end + 8);
  if (data + bytes > message.length) throw new Ends();
  return {
    name,
    type: view.getUint16(end),
    class: view.getUint16(end + 2),
    // A TTL with the highest bit set counts as 0 (RFC 2181, section 8).
    ttlSeconds: Math.max(0, view.getInt32(end + 4)),
    data,
    bytes,
    end: data + bytes,
  };
}

/**
 * Reads a name, in lower case and without the final point, and the offset of what follows it. Each pointer must lead to
 * an earlier place than the last, so there are no loops.
 * @throws {Ends | Malformed}
 */
function nameAt(message: Uint8Array, start: number): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let [at, before, total] = [start, start, 0];
  let end: number | undefined;
  for (;;) {
    const size = byteAt(message, at);
    if (size === 0) return { name: labels.join('.'), end: end ?? at + 1 };
    if (size >= POINTER) {
      end ??= at + 2;
      at = ((size & ~POINTER) << 8) | byteAt(message, at + 1);
      if (at >= before) throw new Malformed();
      before = at;
      continue;
    }
    total += size + 1;
    if (size > LABEL_BYTES_MAX || total > NAME_BYTES_MAX) throw new Malformed();
    byteAt(message, at + size);
    labels.push(
      Buffer.from(message.subarray(at + 1, at + 1 + size))
        .toString('latin1')
        .toLowerCase(),
    );
    at += size + 1;
  }
}

/** @throws {Ends} */
function byteAt(message: Uint8Array, at: number): number {
  const byte = message[at];
  if (byte === undefined) throw new Ends();
  return byte;
}
