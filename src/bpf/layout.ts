const decoder = new TextDecoder('utf-8');

/** A C string in an array of `length` bytes; it ends at the first NUL, or at the end of the array. */
export function readString(view: DataView, at: number, length: number): string {
  const bytes = readBytes(view, at, length);
  const nul = bytes.indexOf(0);
  return decoder.decode(nul < 0 ? bytes : bytes.subarray(0, nul));
}

/** The bytes themselves, not a copy. */
export function readBytes(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length);
}
