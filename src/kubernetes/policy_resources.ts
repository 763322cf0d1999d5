import type { PolicyKind } from '#policies/parse_policy.ts';

/** An API resource that contains a supported kind of policy. */
export interface PolicyResource {
  readonly kind: PolicyKind;
  readonly group: string;
  /** Plural name, as it appears in paths and roles. */
  readonly name: string;
  /** Versions to try if it is unknown which versions the server supports. */
  readonly versions: readonly string[];
  readonly isNamespaced: boolean;
}

const POLICY_GROUP = 'policy.networking.k8s.io';

export const NETWORK_POLICIES: PolicyResource = {
  kind: 'NetworkPolicy',
  group: 'networking.k8s.io',
  name: 'networkpolicies',
  versions: ['v1'],
  isNamespaced: true,
};

export const CLUSTER_POLICIES: readonly PolicyResource[] = [
  {
    kind: 'ClusterNetworkPolicy',
    group: POLICY_GROUP,
    name: 'clusternetworkpolicies',
    versions: ['v1beta1', 'v1alpha2'],
    isNamespaced: false,
  },
  {
    kind: 'AdminNetworkPolicy',
    group: POLICY_GROUP,
    name: 'adminnetworkpolicies',
    versions: ['v1alpha1'],
    isNamespaced: false,
  },
  {
    kind: 'BaselineAdminNetworkPolicy',
    group: POLICY_GROUP,
    name: 'baselineadminnetworkpolicies',
    versions: ['v1alpha1'],
    isNamespaced: false,
  },
];

/**
 * Valid versions of an API group, such as `v1` and `v1beta1`. All others are ignored, because versions become part of a
 * path.
 */
const VERSION = /^v\d{1,3}(?:(?:alpha|beta)\d{1,3})?$/;
const VERSIONS_MAX = 8;

/**
 * Returns the versions under which to request a resource, in order of preference.
 * @param groups versions of the server's API groups; undefined if they are not known
 */
export function versionsOf(
  { group, versions }: PolicyResource,
  groups: ReadonlyMap<string, readonly string[]> | undefined,
): readonly string[] {
  if (groups === undefined) return versions;
  const served = (groups.get(group) ?? []).filter((version) => VERSION.test(version)).slice(0, VERSIONS_MAX);
  // A known version is preferred, because this release of netsonde knows its fields.
  return [
    ...versions.filter((version) => served.includes(version)),
    ...served.filter((version) => !versions.includes(version)),
  ];
}
