import { capturedDrop } from '#bpf/generated/drop_capture.ts';
import { readBytes } from '#bpf/layout.ts';
import { visible } from '#core/inert.ts';
import type { DropReasons } from '#probes/packetloss/drop_reasons.ts';
import type { KernelSymbols } from '#sources/procfs/kallsyms.ts';
import { COOKED_BYTES } from './file.ts';

/** A packet that the kernel dropped, as it appears in the file. */
export interface DroppedPacket {
  /** Name of the device; empty if the packet had none. */
  readonly device: string;
  /** Cooked header, and the captured bytes. */
  readonly bytes: Buffer;
  /** Original length with the cooked header. */
  readonly length: number;
  readonly comment: string;
}

interface Naming {
  readonly reasons: DropReasons;
  /** Symbols, if BPF programs cannot format them. */
  readonly symbols: KernelSymbols | undefined;
}

/**
 * Decodes a record of the ring buffer.
 * @param name name of the Pod or namespace
 */
export function decodeDropped(view: DataView, at: number, name: string, { reasons, symbols }: Naming): DroppedPacket {
  const captured = capturedDrop.captured(view, at);
  const bytes = Buffer.alloc(COOKED_BYTES + captured);
  bytes.writeUInt16BE(capturedDrop.ethertype(view, at), 0);
  bytes.writeUInt32BE(capturedDrop.ifindex(view, at), 4);
  bytes.writeUInt16BE(capturedDrop.hardware(view, at), 8);
  bytes.writeUInt8(capturedDrop.packetType(view, at), 10);
  bytes.set(readBytes(view, at + capturedDrop.offsets.bytes, captured), COOKED_BYTES);
  const device = capturedDrop.device(view, at);
  const reason = reasons.name(capturedDrop.reason(view, at));
  // The offset in the function depends on the build of the kernel.
  const [described = ''] = symbols?.describe(capturedDrop.location(view, at))?.split('+', 1) ?? [];
  const place = capturedDrop.symbol(view, at) || described;
  const [segment, segments] = [capturedDrop.segment(view, at), capturedDrop.segments(view, at)];
  const comment = [
    place === '' ? reason : `${reason} in ${place}`,
    visible(device === '' ? name : `${name} ${device}`),
    ...(segment === 0 ? [] : [`stands for ${segments} segments of ${segment} bytes`]),
  ].join(', ');
  return { device, bytes, length: COOKED_BYTES + capturedDrop.length(view, at), comment };
}
