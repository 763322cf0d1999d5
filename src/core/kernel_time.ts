const NANOSECONDS_PER_SECOND = 1_000_000_000n;

/** Formats nanoseconds since the epoch as RFC 3339 in UTC. */
export function formatTimeNs(timeNs: bigint): string {
  const seconds = timeNs / NANOSECONDS_PER_SECOND;
  const fraction = timeNs % NANOSECONDS_PER_SECOND;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${whole}.${String(fraction).padStart(9, '0')}Z`;
}

const SECOND_DIGITS = 'yyyy-mm-ddThh:mm:ss'.length;

/**
 * Returns the time of a record in nanoseconds since the epoch, as decimal text, because the value exceeds
 * Number.MAX_SAFE_INTEGER.
 */
export function timeNsOf({ time }: { readonly time: string }): string {
  const seconds = Date.parse(`${time.slice(0, SECOND_DIGITS)}Z`) / 1_000;
  return `${seconds}${time.slice(SECOND_DIGITS + 1, -1)}`;
}
