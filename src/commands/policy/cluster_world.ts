import type { PolicyObjects, Reading } from '#kubernetes/policy_objects.ts';
import { CLUSTER_POLICIES, NETWORK_POLICIES, type PolicyResource } from '#kubernetes/policy_resources.ts';
import { isPublic } from '#peers/public.ts';
import { Unknown } from '#policies/answer.ts';
import { addressEnd, type KnownEnd, podEnd, unreadPodEnd } from '#policies/ends.ts';
import { policyGroups } from '#policies/groups.ts';
import { type Policy, TIERS } from '#policies/model.ts';
import type { Address } from '#policies/network.ts';
import { labelsIn, podFacts, type ServiceFacts, serviceFacts } from '#policies/objects.ts';
import { parsePolicy } from '#policies/parse_policy.ts';
import { POLICIES_MAX, PolicySet, type Unread } from '#policies/policy_set.ts';
import type { World } from './world.ts';

/** Maximum number of Pods to read. An agent can have edges to thousands of Pods. */
const PODS_MAX = 1_000;
const SERVICES_MAX = 1_000;

/** The objects of a cluster. Each object is read at most once, when it is first needed. */
export class ClusterWorld implements World {
  readonly name = 'the cluster';
  readonly isWhole = false;
  readonly #objects: PolicyObjects;
  readonly #pods = new Map<string, Promise<KnownEnd | undefined>>();
  readonly #services = new Map<string, Promise<ServiceFacts | undefined>>();
  readonly #namespaces = new Map<string, Promise<Reading<unknown>>>();
  readonly #notes = new Set<string>();
  /** Whether addresses are assumed to belong to no Pod (`--outside`). */
  readonly #areOutside: boolean;
  #groups: ReturnType<PolicyObjects['groups']> | undefined;

  constructor(objects: PolicyObjects, areOutside: boolean) {
    this.#objects = objects;
    this.#areOutside = areOutside;
  }

  get notes(): readonly string[] {
    return [...this.#notes];
  }

  async policies(namespaces: readonly string[] | undefined): Promise<PolicySet> {
    const policies: Policy[] = [];
    const unread: Unread[] = [];
    const read = async (resource: PolicyResource, namespace: string | undefined, parts: readonly Unread['part'][]) => {
      const groups = resource.isNamespaced ? undefined : await this.#knownGroups();
      // Requesting one more than the maximum makes it possible to detect that some policies are left out.
      const found = await this.#objects.policies(resource, groups, namespace, POLICIES_MAX + 1);
      if ('value' in found) policies.push(...found.value.map((object) => parsePolicy(resource.kind, object)));
      else unread.push(...parts.map((part) => ({ reason: `${resource.name}, because ${found.missing}`, part })));
    };
    for (const namespace of namespaces ?? [undefined]) await read(NETWORK_POLICIES, namespace, [{ namespace }]);
    for (const resource of CLUSTER_POLICIES) await read(resource, undefined, TIERS_OF[resource.kind] ?? TIERS);
    return new PolicySet(policies, unread);
  }

  async otherGroups(): Promise<readonly string[]> {
    const groups = await this.#knownGroups();
    if (groups === undefined)
      this.#notes.add('the API groups of other policies are not known, because the right to get /apis is missing');
    return policyGroups(groups?.keys() ?? []);
  }

  pod(namespace: string, name: string): Promise<KnownEnd | undefined> {
    const id = `${namespace}/${name}`;
    const known = this.#pods.get(id);
    if (known === undefined && this.#pods.size === PODS_MAX) {
      this.#notes.add(`the labels of more than ${PODS_MAX} Pods are not read`);
      return Promise.resolve(unreadPodEnd(namespace, name, undefined));
    }
    const pod = known ?? this.#readPod(namespace, name);
    this.#pods.set(id, pod);
    return pod;
  }

  service(namespace: string, name: string): Promise<ServiceFacts | undefined> {
    const id = `${namespace}/${name}`;
    const known = this.#services.get(id);
    if (known === undefined && this.#services.size === SERVICES_MAX) {
      this.#notes.add(`more than ${SERVICES_MAX} Services are not read`);
      return Promise.resolve(undefined);
    }
    const service = known ?? this.#readService(namespace, name);
    this.#services.set(id, service);
    return service;
  }

  async #readService(namespace: string, name: string): Promise<ServiceFacts | undefined> {
    const found = await this.#objects.service(namespace, name);
    if ('missing' in found) this.#notes.add(found.missing);
    return 'missing' in found || found.value === undefined ? undefined : serviceFacts(found.value);
  }

  async address(address: Address): Promise<KnownEnd> {
    const isOutside = this.#areOutside || isPublic(address.text);
    return addressEnd(
      address,
      isOutside ? false : new Unknown(`whether ${address.text} is the address of a Pod`),
      undefined,
    );
  }

  async #readPod(namespace: string, name: string): Promise<KnownEnd | undefined> {
    const found = await this.#objects.pod(namespace, name);
    const labels = await this.#labelsOf(namespace);
    if ('missing' in found) {
      this.#notes.add(found.missing);
      return unreadPodEnd(namespace, name, labels);
    }
    return found.value === undefined ? undefined : podEnd(podFacts(found.value), labels);
  }

  async #labelsOf(namespace: string): Promise<Readonly<Record<string, string>> | undefined> {
    const reading = this.#namespaces.get(namespace) ?? this.#objects.namespace(namespace);
    this.#namespaces.set(namespace, reading);
    const found = await reading;
    if ('missing' in found) this.#notes.add(found.missing);
    return 'missing' in found || found.value === undefined ? undefined : labelsIn(found.value);
  }

  async #knownGroups() {
    this.#groups ??= this.#objects.groups();
    const groups = await this.#groups;
    return 'value' in groups ? groups.value : undefined;
  }
}

/** Tiers of the policies of each kind. A kind that is not listed may have policies in every tier. */
const TIERS_OF: Partial<Record<PolicyResource['kind'], Unread['part'][]>> = {
  AdminNetworkPolicy: ['admin'],
  BaselineAdminNetworkPolicy: ['baseline'],
};
