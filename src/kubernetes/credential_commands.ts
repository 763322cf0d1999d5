import type { KubeConfig } from '@kubernetes/client-node';

/** Maximum run time of a command in milliseconds. The command may have to contact a login server. */
export const COMMAND_MS = 30_000;

interface CommandRunner {
  execFn?: (command: string, args: readonly string[] | undefined, options: object) => unknown;
}

/**
 * Limits the run time of the commands that fetch credentials for a kubeconfig (`exec`). The client library has no
 * option for this, so the function that starts commands is replaced.
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
