/**
 * Calls a function repeatedly, with a pause before each call, until disposed. Disposal waits for the call in progress.
 * The timer does not keep the process alive.
 * @param call must not reject
 */
export function repeat(pauseMs: number, call: () => Promise<void>): AsyncDisposable {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let disposed = false;
  const schedule = () => {
    timer = setTimeout(() => {
      running = call().then(() => {
        if (!disposed) schedule();
      });
    }, pauseMs);
    timer.unref();
  };
  schedule();
  return {
    [Symbol.asyncDispose]: async () => {
      disposed = true;
      clearTimeout(timer);
      await running;
    },
  };
}
