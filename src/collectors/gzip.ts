import { constants, crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Cycle } from '#core/cycle.ts';

/** gzip header: deflate, no flags, no modification time, fastest level, Unix (RFC 1952, 2.3). */
const HEAD = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3);
const TAIL_BYTES = 8;
/** An empty final block (RFC 1951, 3.2.3). */
const LAST_BLOCK = Uint8Array.of(3, 0);

/**
 * Ends each chunk at a byte boundary without a final block, so that chunks can be concatenated (zlib.h, Z_SYNC_FLUSH).
 */
const FLUSHED = { level: constants.Z_BEST_SPEED, finishFlush: constants.Z_SYNC_FLUSH };

/** A complete raw DEFLATE stream (RFC 1951), with the data that a gzip trailer needs. */
export interface Deflated {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** CRC-32 of the uncompressed text. */
  readonly crc: number;
  /** Size of the uncompressed text in bytes. */
  readonly length: number;
}

/** Content of a response, uncompressed or compressed. */
export type Content = readonly Uint8Array<ArrayBuffer>[] | Deflated;

/**
 * Compresses chunks at the fastest level. Runs in this thread, because a hung file system may block all threads of
 * libuv's pool.
 * @throws the signal's reason if the cycle has been aborted
 */
export async function deflate(chunks: readonly Uint8Array[], cycle: Pick<Cycle, 'pause'>): Promise<Deflated> {
  const pieces: Uint8Array[] = [];
  let crc = 0;
  let length = 0;
  for (const chunk of chunks) {
    pieces.push(deflateRawSync(chunk, FLUSHED));
    crc = crc32(chunk, crc);
    length += chunk.length;
    await cycle.pause();
  }
  return { bytes: joined([...pieces, LAST_BLOCK]), crc, length };
}

export function textOf(content: Content): readonly Uint8Array[] {
  return 'bytes' in content ? [inflateRawSync(content.bytes)] : content;
}

/**
 * Joins two parts into a single gzip member, because some clients read only the first member. The second part is
 * already compressed.
 * @param first uncompressed part of a few kB
 */
export function gzipMember(first: readonly Uint8Array[], second: Deflated): Uint8Array {
  const tail = Buffer.alloc(TAIL_BYTES);
  const crc = first.reduce((sum, chunk) => crc32(chunk, sum), 0);
  const length = first.reduce((sum, chunk) => sum + chunk.length, second.length);
  tail.writeUInt32LE(joinedCrc(crc, second.crc, second.length), 0);
  tail.writeUInt32LE(length % 2 ** 32, 4);
  return joined([HEAD, ...first.map((chunk) => deflateRawSync(chunk, FLUSHED)), second.bytes, tail]);
}

/** Copies the pieces into a new buffer, which can be transferred to another thread. */
function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Polynomials over GF(2), modulo the polynomial of CRC-32. The coefficient of x⁰ is in the highest bit. */
const CRC_POLYNOMIAL = 0xedb88320;
const ONE = 1 << 31;
const X_TO_THE_8 = 1 << 23;

/** Returns the CRC-32 of a concatenation from the CRCs of its parts (zlib, crc32_combine). */
function joinedCrc(first: number, second: number, secondBytes: number): number {
  let shifted = first;
  let power = X_TO_THE_8;
  for (let bytes = secondBytes; bytes > 0; bytes = Math.floor(bytes / 2)) {
    if (bytes % 2 === 1) shifted = product(power, shifted);
    power = product(power, power);
  }
  return (shifted ^ second) >>> 0;
}

function product(a: number, b: number): number {
  let sum = 0;
  let shifted = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) sum ^= shifted;
    shifted = (shifted & 1) === 1 ? (shifted >>> 1) ^ CRC_POLYNOMIAL : shifted >>> 1;
  }
  return sum;
}
