import type { KubeConfig } from '@kubernetes/client-node';

/** A command asks a login server. */
export const COMMAND_MS = 30_000;

interface CommandRunner {
  execFn?: (command: string, args: readonly string[] | undefined, options: object) => unknown;
}

/**
 * Kills a command that a user of the kubeconfig gets the credential by (`exec`), where it hangs. The client library waits for one without end, and
 * has no option for it: what it starts a command by is replaced.
 */
export function boundCommands(config: KubeConfig, ending: AbortSignal, timeout = COMMAND_MS): void {
  const { authenticators } = config as unknown as { readonly authenticators: readonly CommandRunner[] };
  for (const authenticator of authenticators) {
    const { execFn } = authenticator;
    if (execFn === undefined) continue;
    authenticator.execFn = (command, args, options) =>
      execFn(command, args, { ...options, timeout, killSignal: 'SIGKILL', signal: ending });
  }
}
