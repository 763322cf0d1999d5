import { type Counter, toCounter } from '#core/counter.ts';

/** Any number with up to this many decimal digits is a safe integer. */
const SAFE_DIGITS = 15;

const MASK_64 = 2n ** 64n;
const ZERO = 48;

/**
 * Parses a decimal number in the kernel's format; returns undefined if the text is not a number. The kernel prints some
 * unsigned counters as signed longs, so negative numbers are converted modulo 2^64.
 */
export function parseCounter(text: string): Counter | undefined {
  return text.length <= SAFE_DIGITS ? parseShort(text) : parseLong(text);
}

/**
 * Parses a short number digit by digit, in a third of the time of the general method. A scrape reads thousands of
 * numbers, and nearly all of them are short.
 */
function parseShort(text: string): Counter | undefined {
  let value = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return parseLong(text);
    value = value * 10 + digit;
  }
  return text === '' ? undefined : value;
}

function parseLong(text: string): Counter | undefined {
  if (!/^-?\d{1,20}$/.test(text)) return undefined;
  const value = BigInt(text);
  if (value >= MASK_64 || value < -(MASK_64 / 2n)) return undefined;
  return toCounter(BigInt.asUintN(64, value));
}

/** Parses a hexadecimal number of at most 52 bits, without a prefix. */
export function parseHex(text: string): number | undefined {
  return /^[0-9a-f]{1,13}$/i.test(text) ? Number.parseInt(text, 16) : undefined;
}

/** Parses a hexadecimal number of at most 64 bits, without a prefix. */
export function parseHexCounter(text: string): Counter | undefined {
  return /^[0-9a-f]{14,16}$/i.test(text) ? toCounter(BigInt(`0x${text}`)) : parseHex(text);
}
