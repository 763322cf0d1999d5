import { type Counter, toCounter } from '#core/counter.ts';

/** Number of digits that always fit a safe integer. */
const SAFE_DIGITS = 15;

const MASK_64 = 2n ** 64n;
const ZERO = 48;

/**
 * Parses a decimal number as the kernel prints it; returns undefined where the text is not one. The kernel prints some unsigned
 * counters as signed longs: a minus sign stands for the number modulo 2^64.
 */
export function parseCounter(text: string): Counter | undefined {
  return text.length <= SAFE_DIGITS ? parseShort(text) : parseLong(text);
}

/** Nearly all numbers are short, and a scrape has thousands: parsing digit by digit takes a third of the time. */
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

/** Parses a hexadecimal number without prefix, at most 52 bits. */
export function parseHex(text: string): number | undefined {
  return /^[0-9a-f]{1,13}$/i.test(text) ? Number.parseInt(text, 16) : undefined;
}

/** Parses a hexadecimal number without prefix, at most 64 bits. */
export function parseHexCounter(text: string): Counter | undefined {
  return /^[0-9a-f]{14,16}$/i.test(text) ? toCounter(BigInt(`0x${text}`)) : parseHex(text);
}
