/** Minimum time in milliseconds between two requests for a resource. */
const SPACING_MS = 1_000;
const BACKOFF_MAX_MS = 8_000;
/**
 * An API server that has just started refuses all requests until it has loaded the roles. At first, a refusal is
 * therefore treated like any other failure. After this time, a retry can succeed only if the roles were changed.
 */
const REFUSAL_GRACE_MS = 120_000;
const FORBIDDEN_MS = 60_000;
/**
 * Maximum random delay before a stream is reopened, because all streams of a server end at the same time when it stops.
 */
const REOPEN_SPREAD_MS = 1_000;

/**
 * Returns the milliseconds from the start of a request to the start of the next one. The pause is one second, and
 * doubles with each failure up to 8 seconds. It has jitter, so that ten thousand agents do not retry at the same
 * moment. It is measured from start to start, so that a timeout does not prolong it.
 * @param failures number of consecutive failures
 * @param random random number from 0 to 1
 */
export function pauseMs(failures: number, random: number): number {
  if (failures === 0) return SPACING_MS;
  const whole = Math.min(SPACING_MS * 2 ** failures, BACKOFF_MAX_MS);
  return Math.max(SPACING_MS, jittered(whole, random));
}

/**
 * Returns the milliseconds to wait after a 403 or 404; 0 for the same pause as after other failures.
 * @param refusedForMs milliseconds since the first of these consecutive responses
 */
export function refusalPauseMs(refusedForMs: number, random: number): number {
  return refusedForMs < REFUSAL_GRACE_MS ? 0 : jittered(FORBIDDEN_MS, random);
}

/** Returns the milliseconds to wait before a stream that has ended is reopened. */
export function reopenPauseMs(random: number): number {
  return REOPEN_SPREAD_MS * random;
}

/** Returns a random value between half of the time and all of it. */
export function jittered(wholeMs: number, random: number): number {
  return (wholeMs * (1 + random)) / 2;
}
