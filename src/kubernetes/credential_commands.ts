import type { KubeConfig } from '@kubernetes/client-node';

/** A command that calls a login server. */
export const COMMAND_MS = 30_000;

interface CommandRunner {
  execFn?: (command: string, args: readonly string[] | undefined, options: object) => unknown;
}

/**
 * Kills a command that gets the credential of a user of the kubeconfig (`exec`) when it hangs. The client library waits for it without limit, and
 * has no option for this, so the function by which it starts commands is replaced.
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
