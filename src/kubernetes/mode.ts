import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const MODES = ['auto', 'off', 'on'] as const;
export type Mode = (typeof MODES)[number];

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
const NO_TOKEN = `the Kubernetes API is not asked: this is a Pod without ${SERVICE_ACCOUNT_TOKEN}; set automountServiceAccountToken: true in its spec, or give --kubernetes off`;

/** Whether the Kubernetes API is asked. */
export interface KubernetesUse {
  readonly asked: boolean;
  /** Why it is not, where it looks as if it should be; undefined: it is all right. */
  readonly trouble: string | undefined;
}

/**
 * `auto` asks in a Pod that has a service account.
 * @param hasToken of a service account
 * @throws for `on` where nothing tells where the API is
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
