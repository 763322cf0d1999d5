/** Names in a compiled object. The directory `generated` contains a layout for each object. */
export interface ObjectLayout {
  readonly constant: string;
  readonly setting: string;
  readonly map: string;
  readonly program: string;
}

/** Values of an enum of the BPF programs, as found in the directory `generated`. */
type Values = Readonly<Record<string, number>>;

/** Returns the names of an enum in the order of their values. */
export function namesOf<E extends Values>(values: E): readonly [keyof E & string, ...(keyof E & string)[]] {
  const names = Object.entries(values).sort(([, a], [, b]) => a - b);
  return names.map(([name]) => name) as unknown as readonly [keyof E & string, ...(keyof E & string)[]];
}

/** Returns the enum's name for a value; undefined if it has none. */
export function nameOf<E extends Values>(values: E, value: number): (keyof E & string) | undefined {
  return Object.keys(values).find((name) => values[name] === value);
}

const decoder = new TextDecoder('utf-8');

/** Reads a C string from an array of `length` bytes. The string ends at the first NUL or at the end of the array. */
export function readString(view: DataView, at: number, length: number): string {
  const bytes = readBytes(view, at, length);
  const nul = bytes.indexOf(0);
  return decoder.decode(nul < 0 ? bytes : bytes.subarray(0, nul));
}

/** Returns a view of `length` bytes without copying them. */
export function readBytes(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length);
}

/** Encodes a u32 in the machine's byte order, for use as a key or value of a map. */
export function bytesOf(u32: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(u32).buffer);
}
