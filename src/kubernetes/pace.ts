/** Shortest time between two requests for a resource, whatever happens. */
const SPACING_MS = 1_000;
const BACKOFF_MAX_MS = 8_000;
/**
 * An API server that has just started refuses everybody until it has read its roles, so a refusal counts like other failures at first.
 * Later, a retry helps only once somebody has changed the roles.
 */
const REFUSAL_GRACE_MS = 120_000;
const FORBIDDEN_MS = 60_000;
/** All streams of a server end at once when it stops: the next requests are spread over this time. */
const REOPEN_SPREAD_MS = 1_000;

/**
 * Returns the time from the start of a request to the start of the next, in milliseconds: a second; after failures twice as much each
 * time, up to 8 seconds, of which a random part from a half on is used, so that ten thousand agents do not retry at once. It counts from
 * start to start: a request that waits for its deadline does not add to it, and the API is reached within 8 seconds of its return.
 * @param failures in a row
 * @param random from 0 to 1
 */
export function pauseMs(failures: number, random: number): number {
  if (failures === 0) return SPACING_MS;
  const whole = Math.min(SPACING_MS * 2 ** failures, BACKOFF_MAX_MS);
  return Math.max(SPACING_MS, jittered(whole, random));
}

/**
 * Returns the time to wait after an answer that denies access, or says that there is no such resource, in milliseconds; 0: no longer than
 * after other failures.
 * @param refusedForMs milliseconds since the first of these answers, with no other answer in between
 */
export function refusalPauseMs(refusedForMs: number, random: number): number {
  return refusedForMs < REFUSAL_GRACE_MS ? 0 : jittered(FORBIDDEN_MS, random);
}

/** Returns the time from the end of a stream to the next request for it, in milliseconds. */
export function reopenPauseMs(random: number): number {
  return REOPEN_SPREAD_MS * random;
}

/** Returns a random part from a half to the whole. */
export function jittered(wholeMs: number, random: number): number {
  return (wholeMs * (1 + random)) / 2;
}
