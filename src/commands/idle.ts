/**
 * `netsonde idle`: does nothing until SIGTERM or SIGINT, so that the container stays and people can run other commands
 * in it. The first process of a container gets no default action for a signal (man 7 pid_namespaces): the command has
 * to handle it.
 */
export function idle(): Promise<0> {
  const { promise, resolve } = Promise.withResolvers<0>();
  // Without pending work Node.js would exit.
  const hold = setInterval(() => undefined, 2 ** 31 - 1);
  const end = () => {
    clearInterval(hold);
    resolve(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, end);
  process.stderr.write('netsonde: idle until SIGTERM: run other commands beside it\n');
  return promise;
}
