/** No resource is asked for more often than this, whatever happens. */
const SPACING_MS = 1_000;
const BACKOFF_MAX_MS = 8_000;
/**
 * An API server that has just begun refuses everybody until it has read its roles. So a refusal is a failure like others at first; later
 * asking again helps only once somebody has changed the roles.
 */
const REFUSAL_GRACE_MS = 120_000;
const FORBIDDEN_MS = 60_000;
/** Streams end all at once where a server does: the next requests come one after the other. */
const REOPEN_SPREAD_MS = 1_000;

/**
 * How long after the start of a request the next may start, in milliseconds: a second; after failures twice as much each time,
 * up to 8 seconds, and of that a random part from a half on, so that ten thousand agents do not come at once.
 * Counted from start to start: a request that waits for its deadline does not add to it, and the API is asked within 8 seconds of its
 * return.
 * @param failures in a row
 * @param random from 0 to 1
 */
export function pauseMs(failures: number, random: number): number {
  if (failures === 0) return SPACING_MS;
  const whole = Math.min(SPACING_MS * 2 ** failures, BACKOFF_MAX_MS);
  return Math.max(SPACING_MS, jittered(whole, random));
}

/**
 * How long to wait after an answer that says that we may not, or that there is no such resource, in milliseconds; 0: no longer than after
 * other failures.
 * @param refusedForMs since the first of these answers that nothing else came between
 */
export function refusalPauseMs(refusedForMs: number, random: number): number {
  return refusedForMs < REFUSAL_GRACE_MS ? 0 : jittered(FORBIDDEN_MS, random);
}

/** How long after the end of a stream the next may be asked for, in milliseconds. */
export function reopenPauseMs(random: number): number {
  return REOPEN_SPREAD_MS * random;
}

/** From a half of it to the whole. */
export function jittered(wholeMs: number, random: number): number {
  return (wholeMs * (1 + random)) / 2;
}
