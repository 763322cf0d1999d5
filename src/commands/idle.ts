/**
 * `netsonde idle`: does nothing until SIGTERM or SIGINT, so that a container stays in which people run other commands.
 * The first process of a container gets no default action for a signal (man 7 pid_namespaces): it has to be handled.
 */
export function idle(): Promise<0> {
  const { promise, resolve } = Promise.withResolvers<0>();
  // Without work Node.js would end.
  const hold = setInterval(() => undefined, 2 ** 31 - 1);
  const end = () => {
    clearInterval(hold);
    resolve(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, end);
  process.stderr.write('netsonde: idles until SIGTERM: other commands are run beside it\n');
  return promise;
}
