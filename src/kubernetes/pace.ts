export interface Timing {
  /** Maximum random delay in milliseconds before the first request. */
  readonly startJitterMs: number;
  /** Timeout in milliseconds for the start of a response, and for pauses while a list is received. */
  readonly answerMs: number;
  /** Timeout in milliseconds for receiving a complete list, or one page of it. */
  readonly listMs: number;
  /** Timeout in milliseconds for a stream without any data. The API server sends a bookmark every minute. */
  readonly idleMs: number;
  /**
   * Maximum duration of a stream in milliseconds. The server is asked to end the stream after a random time between
   * half of this duration and all of it.
   */
  readonly streamMs: number;
  /** Interval in milliseconds at which the list is read again, in case a change was missed. */
  readonly relistMs: number;
}

export const TIMING: Timing = {
  startJitterMs: 0,
  answerMs: 5_000,
  listMs: 120_000,
  idleMs: 100_000,
  streamMs: 600_000,
  relistMs: 3_600_000,
};

/** Minimum time in milliseconds between two requests for a resource. */
const SPACING_MS = 1_000;
const BACKOFF_MAX_MS = 8_000;
/**
 * Milliseconds during which a refusal is treated like any other failure. An API server that has just started refuses
 * all requests until it has loaded the roles. After this time, a retry can succeed only if the roles are changed.
 */
const REFUSAL_GRACE_MS = 120_000;
const FORBIDDEN_MS = 60_000;
/**
 * Maximum random delay in milliseconds before a stream is reopened. When a server stops, all of its streams end at the
 * same time.
 */
const REOPEN_SPREAD_MS = 1_000;

/**
 * Returns the milliseconds from the start of one request to the start of the next. The interval is one second, and
 * doubles with each failure up to 8 seconds. Jitter keeps ten thousand agents from retrying at the same moment. The
 * interval is measured from start to start, so that a timeout does not prolong it.
 * @param failures number of consecutive failures
 * @param random random number from 0 to 1
 */
export function pauseMs(failures: number, random: number): number {
  if (failures === 0) return SPACING_MS;
  const whole = Math.min(SPACING_MS * 2 ** failures, BACKOFF_MAX_MS);
  return Math.max(SPACING_MS, jittered(whole, random));
}

/**
 * Returns the milliseconds to wait after a response with status 403 or 404; 0 to wait as long as after other failures.
 * @param refusedForMs milliseconds since the first of these consecutive responses
 */
export function refusalPauseMs(refusedForMs: number, random: number): number {
  return refusedForMs < REFUSAL_GRACE_MS ? 0 : jittered(FORBIDDEN_MS, random);
}

/** Returns the milliseconds to wait before a stream that has ended is reopened. */
export function reopenPauseMs(random: number): number {
  return REOPEN_SPREAD_MS * random;
}

/** Returns a random duration between half of the given one and all of it. */
export function jittered(wholeMs: number, random: number): number {
  return (wholeMs * (1 + random)) / 2;
}
