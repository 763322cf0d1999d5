/** A monotonic clock of this process that the test moves forward. */
export interface ClockAhead extends Disposable {
  /** Milliseconds by which `performance.now()` is ahead of the real clock. */
  aheadMs: number;
}

/** Moves `performance.now()` forward until the result is disposed. */
export function clockAhead(): ClockAhead {
  const { now } = performance;
  const clock = {
    aheadMs: 0,
    [Symbol.dispose]: () => {
      performance.now = now;
    },
  };
  performance.now = () => now.call(performance) + clock.aheadMs;
  return clock;
}
