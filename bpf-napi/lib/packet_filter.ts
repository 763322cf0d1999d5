import { BpfError, guarded } from './errors.ts';
import { type NativePacketFilter, native } from './native.ts';

/** Link type of the packets of {@link PacketRing}: a pseudo header of 20 bytes, and the packet (LINKTYPE_LINUX_SLL2). */
export const COOKED_LINK_TYPE = 276;
const COOKED_BYTES = 20;

/** Sizes and offsets in `struct sock_filter`, and its codes (include/uapi/linux/filter.h, bpf_common.h). */
const INSTRUCTION_BYTES = 8;
const OPERAND = 4;
const RETURN_CONSTANT = 0x06;
const LOAD_CLASSES = [0x00, 0x01];
const CLASS_MASK = 0x07;
const MODE_MASK = 0xe0;
/** Modes that read the packet: absolute, indexed, and the length of an IP header. */
const PACKET_MODES = [0x20, 0x40, 0xa0];
const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;

/** Offsets by which a filter reads what the kernel knows of a packet (SKF_AD_OFF + SKF_AD_…). */
const ANCILLARY = -0x1000;
const PROTOCOL = ANCILLARY;
const PACKET_TYPE = ANCILLARY + 4;
const DEVICE = ANCILLARY + 8;
const HARDWARE = ANCILLARY + 28;
/** Fields of the pseudo header, by offset. */
const COOKED_FIELDS: ReadonlyMap<number, number> = new Map([
  [0, PROTOCOL],
  [4, DEVICE],
  [8, HARDWARE],
  [10, PACKET_TYPE],
]);

const OUTGOING = 4;
/** Index of the loopback device in every namespace (include/net/flow.h, LOOPBACK_IFINDEX). */
const LOOPBACK = 1;

/** A compiled filter expression of libpcap (man 7 pcap-filter), for packets with the cooked header. */
export class PacketFilter {
  readonly expression: string;
  readonly #native: NativePacketFilter;
  /** Program for the kernel, which sees packets without the pseudo header. */
  readonly kernelProgram: Uint8Array;

  /**
   * Loads libpcap if it is not loaded, and compiles the expression.
   * @param snap maximum number of bytes of a packet that the kernel copies
   * @throws {BpfError} FILTER: the message is libpcap's, or the reason why libpcap cannot be loaded
   */
  constructor(expression: string, snap: number) {
    this.expression = expression;
    this.#native = guarded('FILTER', () => new (native().PacketFilter)(expression, COOKED_LINK_TYPE, snap));
    this.kernelProgram = kernelProgram(this.#native.instructions(), snap);
  }

  /**
   * Returns whether the filter accepts a packet.
   * @param packet the pseudo header and the bytes that were captured
   * @param length original length in bytes, including the pseudo header
   */
  matches(packet: Uint8Array, length: number): boolean {
    return this.#native.matches(packet, length);
  }
}

/** Returns a program for the kernel that accepts every packet. */
export function acceptAll(snap: number): Uint8Array {
  return kernelProgram(instructions([[RETURN_CONSTANT, 0, 0, snap]]), snap);
}

/**
 * Converts a program for cooked packets to one for the kernel, whose packets start with the network header. Reads of the
 * pseudo header become reads of what the kernel knows of the packet, as in libpcap (pcap-linux.c, fix_offset()). The
 * result also rejects packets that leave through the loopback device, because they arrive on it, too.
 * @throws {BpfError} FILTER if the program reads a field of the pseudo header that the kernel does not have
 */
export function kernelProgram(program: Uint8Array, snap: number): Uint8Array {
  const copy = program.slice();
  const view = new DataView(copy.buffer);
  for (let at = 0; at < copy.length; at += INSTRUCTION_BYTES) {
    const code = view.getUint16(at, true);
    const operand = view.getUint32(at + OPERAND, true);
    if (code === RETURN_CONSTANT && operand !== 0) view.setUint32(at + OPERAND, snap, true);
    if (!LOAD_CLASSES.includes(code & CLASS_MASK) || !PACKET_MODES.includes(code & MODE_MASK)) continue;
    view.setInt32(at + OPERAND, kernelOffset(operand), true);
  }
  return Buffer.concat([WITHOUT_LOOPBACK_COPIES, copy]);
}

function kernelOffset(operand: number): number {
  // Offsets below zero already name what the kernel knows.
  if (operand >= COOKED_BYTES || operand >> 0 < 0) return operand >> 0 < 0 ? operand >> 0 : operand - COOKED_BYTES;
  const known = COOKED_FIELDS.get(operand);
  if (known !== undefined) return known;
  throw new BpfError('FILTER', `the kernel cannot compare byte ${operand} of the link-layer header`);
}

/** Encodes instructions: code, jump if true, jump if false, operand. */
function instructions(all: readonly (readonly [number, number, number, number])[]): Uint8Array {
  const bytes = new Uint8Array(all.length * INSTRUCTION_BYTES);
  const view = new DataView(bytes.buffer);
  all.forEach(([code, ifTrue, ifFalse, operand], index) => {
    const at = index * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, ifTrue);
    view.setUint8(at + 3, ifFalse);
    view.setInt32(at + OPERAND, operand, true);
  });
  return bytes;
}

const WITHOUT_LOOPBACK_COPIES = instructions([
  [LOAD_WORD, 0, 0, PACKET_TYPE],
  [JUMP_IF_EQUAL, 0, 3, OUTGOING],
  [LOAD_WORD, 0, 0, DEVICE],
  [JUMP_IF_EQUAL, 0, 1, LOOPBACK],
  [RETURN_CONSTANT, 0, 0, 0],
]);
