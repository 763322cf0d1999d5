import type { Counter } from '#core/counter.ts';

/**
 * Maximum length of a formatted number in bytes. 64-bit integers have up to 20 digits, and doubles have up to 24
 * characters.
 */
export const NUMBER_BYTES_MAX = 32;

const ZERO = 0x30;
const INT32_MAX = 2 ** 31 - 1;
const BILLION = 1_000_000_000;

/**
 * Writes a number in the notation of both text formats.
 * @param bytes buffer with at least {@link NUMBER_BYTES_MAX} bytes after `at`
 * @returns position after the number
 */
export function writeNumber(bytes: Uint8Array, at: number, value: Counter): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) {
    return value <= INT32_MAX ? writeInteger(bytes, at, value) : writeLongInteger(bytes, at, value);
  }
  const text = formatNumber(value);
  for (let index = 0; index < text.length; index++) bytes[at + index] = text.charCodeAt(index);
  return at + text.length;
}

export function formatNumber(value: Counter): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}

function writeInteger(bytes: Uint8Array, at: number, value: number): number {
  let digits = 1;
  for (let bound = 10; digits < 10 && value >= bound; bound *= 10) digits++;
  return writeDigits(bytes, at, value, digits);
}

function writeLongInteger(bytes: Uint8Array, at: number, value: number): number {
  const high = Math.floor(value / BILLION);
  const low = value - high * BILLION;
  const end = high > INT32_MAX ? writeLongInteger(bytes, at, high) : writeInteger(bytes, at, high);
  return writeDigits(bytes, end, low, 9);
}

/** Writes the lowest `digits` decimal digits, with leading zeros. */
function writeDigits(bytes: Uint8Array, at: number, value: number, digits: number): number {
  let rest = value | 0;
  for (let place = at + digits - 1; place >= at; place--) {
    const tenth = (rest / 10) | 0;
    bytes[place] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return at + digits;
}
