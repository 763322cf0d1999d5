/** API groups of policies that network plugins and service meshes enforce in addition to those of Kubernetes. */
const OTHER_GROUPS = [
  'cilium.io',
  'crd.projectcalico.org',
  'projectcalico.org',
  'crd.antrea.io',
  'k8s.ovn.org',
  'kubeovn.io',
  'networking.k8s.aws',
  'security.istio.io',
  'policy.linkerd.io',
];

/** Returns the groups whose policies are not evaluated, in a fixed order. */
export function policyGroups(groups: Iterable<string>): string[] {
  const existing = new Set(groups);
  return OTHER_GROUPS.filter((group) => existing.has(group));
}
