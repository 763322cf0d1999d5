/**
 * An exact unsigned 64-bit integer: a number if it is a safe integer, otherwise a bigint. Nearly all kernel counters are
 * safe integers, and numbers take a tenth of the time of bigints.
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

/** Converts a non-negative bigint to a number if it is a safe integer. */
export function toCounter(value: bigint): Counter {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

/** Adds two counters modulo 2^64. Exact for integers; fractions of seconds are rounded like doubles. */
export function addCounters(a: Counter, b: Counter): Counter {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (Number.isSafeInteger(sum) || !Number.isInteger(sum)) return sum;
  }
  return toCounter(BigInt.asUintN(64, BigInt(a) + BigInt(b)));
}

/** Returns `a - b`, where `a` is at least `b`. Exact for integers. */
export function subtractCounters(a: Counter, b: Counter): Counter {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return toCounter(BigInt(a) - BigInt(b));
}

/** Multiplies a counter. Exact even if the product exceeds 64 bits. */
export function multiplyCounter(value: Counter, factor: number): Counter {
  const product = Number(value) * factor;
  return Number.isSafeInteger(product) ? product : BigInt(value) * BigInt(factor);
}

/**
 * Returns zero for a negative gauge. The kernel keeps such a gauge as a signed value per CPU, and their sum can be negative
 * if it is read during a change. As an unsigned number, it would be huge.
 */
export function notNegative(value: Counter): Counter {
  return typeof value === 'bigint' && value >= SIGN ? 0 : value;
}
