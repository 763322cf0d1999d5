/**
 * Encodes messages of nfnetlink (kernel: include/uapi/linux/netfilter/nfnetlink.h). Numbers in them are big-endian, except
 * for the headers of messages and attributes.
 */
const NLA_F_NESTED = 0x8000;
const ATTRIBUTE_HEADER_BYTES = 4;

/** Requests an answer also for a message that succeeds. */
export const NLM_F_ACK = 0x4;
/** Type of an answer with an errno, which is 0 for success. */
export const NLMSG_ERROR = 2;
/** Bytes of the header that follows that of netlink (struct nfgenmsg). */
export const GENERIC_BYTES = 4;

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Encodes the header that follows that of netlink. */
export function generic(family: number, resource = 0): Uint8Array {
  return Uint8Array.of(family, 0, resource >> 8, resource & 0xff);
}

/** Encodes an attribute. A number is a big-endian u32, and a string ends with a NUL. */
export function attribute(type: number, value: Uint8Array | string | number): Uint8Array {
  const bytes =
    typeof value === 'number' ? bigEndian(value) : typeof value === 'string' ? Buffer.from(`${value}\0`) : value;
  const whole = new Uint8Array((bytes.length + ATTRIBUTE_HEADER_BYTES + 3) & ~3);
  const view = new DataView(whole.buffer);
  view.setUint16(0, bytes.length + ATTRIBUTE_HEADER_BYTES, true);
  view.setUint16(2, type, true);
  whole.set(bytes, ATTRIBUTE_HEADER_BYTES);
  return whole;
}

function bigEndian(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, false);
  return bytes;
}

export function nested(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NLA_F_NESTED, concat(parts));
}
