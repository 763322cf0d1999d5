import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const MODES = ['auto', 'off', 'on'] as const;
export type Mode = (typeof MODES)[number];

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
const NO_TOKEN = `the Kubernetes API is not used, because this Pod has no ${SERVICE_ACCOUNT_TOKEN}; set automountServiceAccountToken: true in its spec, or use --kubernetes off`;

/** Decision whether to use the Kubernetes API. */
export interface KubernetesUse {
  readonly asked: boolean;
  /** Reason why an agent in a Pod does not use the API; undefined in all other cases. */
  readonly trouble: string | undefined;
}

/**
 * Decides whether to use the API. With `auto`, it is used in a Pod with a service account.
 * @param hasToken whether a service account token is mounted
 * @throws with `on`, if there is no configuration for the API
 */
export function kubernetesUse(
  mode: Mode,
  env: NodeJS.ProcessEnv,
  hasToken: boolean = existsSync(SERVICE_ACCOUNT_TOKEN),
): KubernetesUse {
  const isInPod = (env['KUBERNETES_SERVICE_HOST'] ?? '') !== '';
  if (mode === 'auto' && isInPod && !hasToken) return { asked: false, trouble: NO_TOKEN };
  if (mode !== 'on') return { asked: mode === 'auto' && isInPod, trouble: undefined };
  const hasFile = (env['KUBECONFIG'] ?? '') !== '' || existsSync(join(env['HOME'] ?? '/', '.kube/config'));
  if ((isInPod && hasToken) || hasFile) return { asked: true, trouble: undefined };
  throw new Error(
    '--kubernetes on: no service account is mounted, $KUBECONFIG is not set, and there is no ~/.kube/config',
  );
}
