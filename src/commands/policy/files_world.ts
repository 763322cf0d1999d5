import type { Labels } from '#core/selector.ts';
import { Unknown } from '#policies/answer.ts';
import { addressEnd, type KnownEnd, podEnd } from '#policies/ends.ts';
import { policyGroups } from '#policies/groups.ts';
import type { Policy } from '#policies/model.ts';
import type { Address } from '#policies/network.ts';
import {
  labelsIn,
  type NodeFacts,
  nameOf,
  nodeFacts,
  type PodFacts,
  podFacts,
  type ServiceFacts,
  serviceFacts,
} from '#policies/objects.ts';
import { type PolicyKind, parsePolicy } from '#policies/parse_policy.ts';
import { PolicySet } from '#policies/policy_set.ts';
import type { Manifest } from './manifests.ts';
import type { World } from './world.ts';

/** API group of each kind of policy that is evaluated. */
const GROUPS: Readonly<Record<PolicyKind, string>> = {
  NetworkPolicy: 'networking.k8s.io',
  AdminNetworkPolicy: 'policy.networking.k8s.io',
  BaselineAdminNetworkPolicy: 'policy.networking.k8s.io',
  ClusterNetworkPolicy: 'policy.networking.k8s.io',
};

/**
 * Returns the policies in manifests. A policy replaces earlier ones with the same kind and name.
 * @throws if a policy has no name
 */
export function policiesIn(manifests: readonly Manifest[]): Policy[] {
  const policies = manifests
    .filter(isPolicy)
    .map(({ kind, object, place }) => at(place, () => parsePolicy(kind, object)));
  return [...new Map(policies.map((policy) => [policy.id, policy])).values()];
}

function isPolicy(manifest: Manifest): manifest is Manifest & { readonly kind: PolicyKind } {
  return Object.hasOwn(GROUPS, manifest.kind) && GROUPS[manifest.kind as PolicyKind] === manifest.apiGroup;
}

function at<T>(place: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${place}: ${(error as Error).message}`);
  }
}

/** Policies and other objects from files. An object that is not in the files is assumed not to exist. */
export class FilesWorld implements World {
  readonly name = 'the files';
  readonly isWhole = true;
  readonly #set: PolicySet;
  readonly #pods: ReadonlyMap<string, PodFacts>;
  readonly #byAddress = new Map<string, PodFacts[]>();
  readonly #namespaces: ReadonlyMap<string, Labels>;
  readonly #services: ReadonlyMap<string, ServiceFacts>;
  readonly #nodes = new Map<string, NodeFacts>();
  readonly #groups: readonly string[];
  readonly #notes = new Set<string>();

  /** @throws if an object has no name */
  constructor(manifests: readonly Manifest[]) {
    const ofKind = <T>(kind: string, read: (object: unknown) => T): T[] =>
      manifests
        .filter((manifest) => manifest.kind === kind && manifest.apiGroup === '')
        .map(({ object, place }) => at(place, () => read(object)));
    this.#set = new PolicySet(policiesIn(manifests));
    this.#pods = new Map(ofKind('Pod', podFacts).map((facts) => [`${facts.namespace}/${facts.name}`, facts]));
    this.#namespaces = new Map(
      ofKind('Namespace', (object) => [nameOf(object, 'Namespace').name, labelsIn(object)] as const),
    );
    this.#services = new Map(
      ofKind('Service', serviceFacts).map((facts) => [`${facts.namespace}/${facts.name}`, facts]),
    );
    for (const facts of this.#pods.values()) {
      for (const { text } of facts.isHostNetwork ? [] : (facts.addresses ?? [])) {
        this.#byAddress.set(text, [...(this.#byAddress.get(text) ?? []), facts]);
      }
    }
    for (const node of ofKind('Node', nodeFacts)) for (const { text } of node.addresses) this.#nodes.set(text, node);
    this.#groups = policyGroups(manifests.map(({ apiGroup }) => apiGroup));
  }

  get notes(): readonly string[] {
    return [...this.#notes];
  }

  policies(): Promise<PolicySet> {
    return Promise.resolve(this.#set);
  }

  otherGroups(): Promise<readonly string[]> {
    return Promise.resolve(this.#groups);
  }

  async pod(namespace: string, name: string): Promise<KnownEnd | undefined> {
    const facts = this.#pods.get(`${namespace}/${name}`);
    return facts && this.#endOf(facts);
  }

  service(namespace: string, name: string): Promise<ServiceFacts | undefined> {
    return Promise.resolve(this.#services.get(`${namespace}/${name}`));
  }

  async address(address: Address): Promise<KnownEnd> {
    const [facts, ...more] = this.#byAddress.get(address.text) ?? [];
    const node = this.#nodes.get(address.text);
    if (facts === undefined) return addressEnd(address, false, node);
    if (more.length === 0) return this.#endOf(facts);
    return addressEnd(address, new Unknown(`which Pod has the address ${address.text}`), node);
  }

  #endOf(facts: PodFacts): KnownEnd {
    const { namespace } = facts;
    const labels = this.#namespaces.get(namespace);
    if (labels === undefined) this.#notes.add(`the files do not have the Namespace ${namespace} with its labels`);
    return podEnd(facts, labels);
  }
}
