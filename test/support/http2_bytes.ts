/** Frames of HTTP/2 (RFC 9113) and header blocks (RFC 7541), valid or not, as bytes. */

export const FLAGS = { endStream: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;
const WHOLE = FLAGS.endStream | FLAGS.endHeaders;

export const TYPES = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  promise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** An integer with a prefix. @param first the bits before the prefix, as a byte */
function integer(first: number, prefixBits: number, value: number): Buffer {
  const most = (1 << prefixBits) - 1;
  if (value < most) return Buffer.from([first | value]);
  const bytes = [first | most];
  let rest = value - most;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

function text(value: string): Buffer {
  return Buffer.concat([integer(0, 7, value.length), Buffer.from(value, 'latin1')]);
}

export function indexed(index: number): Buffer {
  return integer(0x80, 7, index);
}

/** A field that becomes an entry of the dynamic table. @param name text, or index of an entry with the name */
export function inserted(name: string | number, value: string): Buffer {
  const start = typeof name === 'number' ? integer(0x40, 6, name) : Buffer.concat([integer(0x40, 6, 0), text(name)]);
  return Buffer.concat([start, text(value)]);
}

/** A field that does not. */
export function literal(name: string | number, value: string): Buffer {
  const start = typeof name === 'number' ? integer(0, 4, name) : Buffer.concat([integer(0, 4, 0), text(name)]);
  return Buffer.concat([start, text(value)]);
}

export function tableSize(bytes: number): Buffer {
  return integer(0x20, 5, bytes);
}

/** A SETTINGS frame. */
export function settings(values: Readonly<Record<number, number>> = {}): Buffer {
  const fields = Object.entries(values).map(([id, value]) => {
    const bytes = Buffer.alloc(6);
    bytes.writeUInt16BE(Number(id), 0);
    bytes.writeUInt32BE(value, 2);
    return bytes;
  });
  return frame(TYPES.settings, 0, 0, Buffer.concat(fields));
}

/** `:method: GET`, `:scheme: http`, `:path: /` of the static table. */
export const GET = Buffer.concat([2, 6, 4].map(indexed));
/** `:status: 200` of the static table. */
export const OK = indexed(8);

/** A HEADERS frame that is a whole message. */
export function message(stream: number, ...fields: readonly Buffer[]): Buffer {
  return frame(TYPES.headers, WHOLE, stream, Buffer.concat(fields));
}

/** A HEADERS frame with a whole header block, which a body or trailers follow. */
export function headers(stream: number, ...fields: readonly Buffer[]): Buffer {
  return frame(TYPES.headers, FLAGS.endHeaders, stream, Buffer.concat(fields));
}

/** A header block in a frame and CONTINUATION frames. @param first creates the frame, given its flags and payload */
export function continued(
  stream: number,
  flags: number,
  block: Buffer,
  size: number,
  type: number = TYPES.headers,
): Buffer {
  const parts = [];
  for (let at = 0; at < block.length; at += size) parts.push(block.subarray(at, at + size));
  return Buffer.concat(
    parts.map((part, index) => {
      const ends = index === parts.length - 1 ? FLAGS.endHeaders : 0;
      return index === 0 ? frame(type, flags | ends, stream, part) : frame(TYPES.continuation, ends, stream, part);
    }),
  );
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}
