import { encodeRequest } from '#sources/netlink/message.ts';

/** Encodes netlink messages in the kernel's format, for tests of decoders. */

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array((bytes.length + 3) & ~3);
  whole.set(bytes);
  return whole;
}

export function attribute(type: number, value: Uint8Array): Uint8Array {
  const header = new DataView(new ArrayBuffer(4));
  header.setUint16(0, 4 + value.length, true);
  header.setUint16(2, type, true);
  return padded(join(new Uint8Array(header.buffer), value));
}

export function numbers(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export function message(type: number, payload: Uint8Array): Uint8Array {
  return padded(encodeRequest(type, 0, payload));
}
