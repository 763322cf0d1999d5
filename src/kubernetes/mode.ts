import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const MODES = ['auto', 'off', 'on'] as const;
export type Mode = (typeof MODES)[number];

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * Whether the Kubernetes API is asked: `auto` does in a Pod that has a service account.
 * @throws for `on` where nothing tells where the API is
 */
export function usesKubernetes(mode: Mode, env: NodeJS.ProcessEnv): boolean {
  const isPod = (env['KUBERNETES_SERVICE_HOST'] ?? '') !== '' && existsSync(SERVICE_ACCOUNT_TOKEN);
  if (mode !== 'on') return mode === 'auto' && isPod;
  const hasFile = (env['KUBECONFIG'] ?? '') !== '' || existsSync(join(env['HOME'] ?? '/', '.kube/config'));
  if (isPod || hasFile) return true;
  throw new Error(
    '--kubernetes on: no service account is mounted, $KUBECONFIG is not set, and there is no ~/.kube/config',
  );
}
