/**
 * Runs `netsonde idle`, which waits for SIGTERM or SIGINT so that users can run other commands in the container. The
 * command handles the signals itself, because the kernel does not deliver unhandled signals to the first process of a
 * container (man 7 pid_namespaces).
 */
export function idle(): Promise<0> {
  const { promise, resolve } = Promise.withResolvers<0>();
  // A pending timer keeps Node.js from exiting.
  const hold = setInterval(() => undefined, 2 ** 31 - 1);
  const end = () => {
    clearInterval(hold);
    resolve(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, end);
  process.stderr.write('netsonde: idle until SIGTERM; run other commands in this container\n');
  return promise;
}
