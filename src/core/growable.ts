/** Maximum number of elements of a growable array. The maximum reserves only address space, not memory. */
export const GROWABLE_MAX = 2 ** 24;

const BYTES_MIN = 4_096;

type Numbers = Uint8Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

interface NumbersClass<Kind> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): Kind;
}

/**
 * Returns an array that {@link reserve} extends in place. Copying into longer arrays would fragment the heap, because
 * the memory of each freed array is too small for the next one.
 */
export function growable<Kind extends Numbers>(kind: NumbersClass<Kind>): Kind {
  return new kind(new ArrayBuffer(BYTES_MIN, { maxByteLength: GROWABLE_MAX * kind.BYTES_PER_ELEMENT }));
}

/**
 * Extends an array to at least this length. The added elements are 0, and take no memory before they are written.
 * @throws {RangeError} if the length exceeds {@link GROWABLE_MAX}
 */
export function reserve(array: Numbers, length: number): void {
  let bytes = array.byteLength;
  const needed = length * array.BYTES_PER_ELEMENT;
  if (bytes >= needed) return;
  while (bytes < needed) bytes *= 2;
  array.buffer.resize(Math.max(needed, Math.min(bytes, array.buffer.maxByteLength)));
}
