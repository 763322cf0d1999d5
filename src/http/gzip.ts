import { setImmediate as turn } from 'node:timers/promises';
import { constants, crc32, deflateRawSync } from 'node:zlib';

/** RFC 1952, 2.3: deflate, no flags, no time, fastest, Unix. */
const HEAD = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3);
/** RFC 1951, 3.2.3: the last block, which is empty. */
const LAST_BLOCK = Uint8Array.of(3, 0);

/**
 * Compresses at the lowest level: a tenth of the bytes for some milliseconds. Chunk by chunk, so that the event loop gets its turn, and in
 * this thread: those of libuv's pool may all hang in a file that does not answer.
 * @param signal ends it early, with what is done
 */
export async function gzip(chunks: readonly Uint8Array[], signal: AbortSignal): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [HEAD];
  let sum = 0;
  let length = 0;
  for (const chunk of chunks) {
    if (signal.aborted) return pieces;
    // Flushed: ends on a whole byte, and none is the last block.
    pieces.push(deflateRawSync(chunk, { level: constants.Z_BEST_SPEED, finishFlush: constants.Z_SYNC_FLUSH }));
    sum = crc32(chunk, sum);
    length += chunk.length;
    await turn();
  }
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(sum, 0);
  tail.writeUInt32LE(length % 2 ** 32, 4);
  return [...pieces, LAST_BLOCK, tail];
}
