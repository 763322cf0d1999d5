/** Minimum time between two requests for a resource. */
const SPACING_MS = 1_000;
const BACKOFF_MAX_MS = 8_000;
/**
 * An API server that has just started refuses everyone until it has loaded the roles. A refusal therefore counts like any
 * failure at first. Later, a retry can only succeed after the roles were changed.
 */
const REFUSAL_GRACE_MS = 120_000;
const FORBIDDEN_MS = 60_000;
/** Maximum random delay before a stream is reopened, because all streams of a server end together when it stops. */
const REOPEN_SPREAD_MS = 1_000;

/**
 * Returns the milliseconds from the start of a request to the start of the next one: a second, or after failures twice as
 * much each time, up to 8 seconds, with jitter so that ten thousand agents do not retry at the same moment. Measured from
 * start to start, so that a timeout does not add to it.
 * @param failures number of failures in a row
 * @param random random number from 0 to 1
 */
export function pauseMs(failures: number, random: number): number {
  if (failures === 0) return SPACING_MS;
  const whole = Math.min(SPACING_MS * 2 ** failures, BACKOFF_MAX_MS);
  return Math.max(SPACING_MS, jittered(whole, random));
}

/**
 * Returns the milliseconds to wait after a 403 or 404; 0 for the same pause as after other failures.
 * @param refusedForMs milliseconds since the first of these responses in a row
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
