import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type KubernetesObject, kustomize } from './kustomize.ts';

const MANIFESTS = fileURLToPath(new URL('../../manifests/', import.meta.url));

/** Fields of a Kubernetes security context that our manifests use. */
export interface SecurityContext {
  readonly runAsUser: number;
  readonly runAsGroup: number;
  readonly privileged: boolean;
  readonly allowPrivilegeEscalation: boolean;
  readonly readOnlyRootFilesystem: boolean;
  readonly capabilities: { readonly drop: readonly string[]; readonly add: readonly string[] };
}

export interface Container {
  readonly image: string;
  readonly command?: readonly string[];
  readonly args: readonly string[];
  readonly ports: readonly { readonly containerPort: number; readonly protocol: string }[];
  readonly securityContext: SecurityContext;
  readonly volumeMounts: readonly { readonly mountPath: string }[];
}

/** Returns the agent's container, and all objects of manifests/base with these components applied. */
export function shipped(components: readonly string[]): {
  readonly container: Container;
  readonly objects: readonly KubernetesObject[];
} {
  const folders = components.map((name) => join(MANIFESTS, 'components', name));
  const objects = kustomize(join(MANIFESTS, 'base'), folders);
  const daemonSet = objects.find(({ kind }) => kind === 'DaemonSet');
  if (daemonSet === undefined) throw new Error('there is no DaemonSet');
  type Spec = { template: { spec: { containers: [Container] } } };
  return { container: (daemonSet['spec'] as Spec).template.spec.containers[0], objects };
}

/**
 * Returns a command prefix that applies a security context in the same way as a container runtime. For users other than
 * root, capabilities are ambient.
 */
export function setpriv(
  { allowPrivilegeEscalation }: SecurityContext,
  user: number,
  capabilities: readonly string[],
): string[] {
  const set = ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',');
  return [
    ...['setpriv', '--reuid', String(user), '--regid', String(user), '--clear-groups'],
    ...['--bounding-set', set, '--inh-caps', set, ...(user === 0 ? [] : ['--ambient-caps', set])],
    ...(allowPrivilegeEscalation ? [] : ['--no-new-privs']),
  ];
}
