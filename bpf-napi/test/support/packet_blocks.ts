const ENHANCED_PACKET = 6;
const FRONT_BYTES = 28;
export const COOKED_BYTES = 20;

export interface PacketBlock {
  readonly interface: number;
  readonly timeNs: bigint;
  /** Original length, without the cooked header. */
  readonly length: number;
  readonly cooked: Buffer;
  /** Captured bytes after the cooked header. */
  readonly bytes: Buffer;
}

/** Decodes consecutive enhanced packet blocks. @throws if a block is malformed */
export function packetBlocks(bytes: Uint8Array): PacketBlock[] {
  const buffer = Buffer.from(bytes);
  const blocks: PacketBlock[] = [];
  for (let at = 0; at < buffer.length; ) {
    const total = buffer.readUInt32LE(at + 4);
    const captured = buffer.readUInt32LE(at + 20);
    const isWhole = buffer.readUInt32LE(at + total - 4) === total && FRONT_BYTES + captured + 4 <= total;
    if (buffer.readUInt32LE(at) !== ENHANCED_PACKET || !isWhole) throw new Error(`malformed block at ${at}`);
    const packet = buffer.subarray(at + FRONT_BYTES, at + FRONT_BYTES + captured);
    blocks.push({
      interface: buffer.readUInt32LE(at + 8),
      timeNs: (BigInt(buffer.readUInt32LE(at + 12)) << 32n) | BigInt(buffer.readUInt32LE(at + 16)),
      length: buffer.readUInt32LE(at + 24) - COOKED_BYTES,
      cooked: packet.subarray(0, COOKED_BYTES),
      bytes: packet.subarray(COOKED_BYTES),
    });
    at += total;
  }
  return blocks;
}
