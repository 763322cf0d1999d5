/** Thrown when a deadline has passed. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

/**
 * Returns the outcome of a promise, or rejects with a DeadlineError at the deadline. The work itself is not cancelled.
 * @param late message of the error
 */
export async function withDeadline<T>(work: Promise<T>, deadlineMs: number, late: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(late)), deadlineMs);
  });
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}

const TICKS = 30;

/**
 * Like `withDeadline`, but for work that competes with synchronous calls on this thread: a call that blocks the thread
 * counts as at most one thirtieth of the deadline, however long it takes.
 */
export async function withRunningDeadline<T>(work: Promise<T>, deadlineMs: number, late: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let left = TICKS;
  const expired = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      left -= 1;
      if (left === 0) reject(new DeadlineError(late));
    }, deadlineMs / TICKS);
  });
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearInterval(timer);
  }
}

/** Returns the outcome of a promise, or rejects with the signal's reason on abort. The work itself is not cancelled. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
