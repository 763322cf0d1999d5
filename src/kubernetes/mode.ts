import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const MODES = ['auto', 'off', 'on'] as const;
export type Mode = (typeof MODES)[number];

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
const NO_TOKEN = `the Kubernetes API is not used: this is a Pod without ${SERVICE_ACCOUNT_TOKEN}; set automountServiceAccountToken: true in its spec, or give --kubernetes off`;

/** Says whether the Kubernetes API is used. */
export interface KubernetesUse {
  readonly asked: boolean;
  /** Reason why it is not used where it looks as if it should be; undefined where there is none. */
  readonly trouble: string | undefined;
}

/**
 * `auto` uses it in a Pod that has a service account.
 * @param hasToken a token of the service account is mounted
 * @throws for `on` where no configuration has the address of the API
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
