/**
 * A 64-bit unsigned number of the kernel, exact: a number while it is a safe integer, otherwise a bigint. Kernel counters are nearly always
 * small, and numbers cost a tenth of bigints.
 */
export type Counter = number | bigint;

const HIGH = 2 ** 32;
const HIGH_WORD_SAFE = 2 ** 21;
const SIGN = 2n ** 63n;

/** Reads a little-endian u64. */
export function readCounter(view: DataView, at: number): Counter {
  const high = view.getUint32(at + 4, true);
  if (high < HIGH_WORD_SAFE) return high * HIGH + view.getUint32(at, true);
  return view.getBigUint64(at, true);
}

/** Returns the shortest exact form of a non-negative bigint. */
export function toCounter(value: bigint): Counter {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

/** Adds two counters. Exact for whole numbers, modulo 2^64; seconds with a fraction are rounded as doubles are. */
export function addCounters(a: Counter, b: Counter): Counter {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (Number.isSafeInteger(sum) || !Number.isInteger(sum)) return sum;
  }
  return toCounter(BigInt.asUintN(64, BigInt(a) + BigInt(b)));
}

/** Returns the growth of a counter from `b` to `a`, which is at least `b`. Exact for whole numbers. */
export function subtractCounters(a: Counter, b: Counter): Counter {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return toCounter(BigInt(a) - BigInt(b));
}

/** Multiplies a counter. Exact also where the product has more than 64 bits. */
export function multiplyCounter(value: Counter, factor: number): Counter {
  const product = Number(value) * factor;
  return Number.isSafeInteger(product) ? product : BigInt(value) * BigInt(factor);
}

/**
 * Turns a negative gauge into zero. The kernel keeps such a gauge as one signed share per CPU: summed while it changes, the total can be
 * below zero, which is huge as an unsigned number.
 */
export function notNegative(value: Counter): Counter {
  return typeof value === 'bigint' && value >= SIGN ? 0 : value;
}
