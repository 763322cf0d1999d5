import type { Labels } from '#core/selector.ts';
import { type KnownEnd, podEnd, unreadPodEnd } from '#policies/ends.ts';
import { type Policy, TIERS } from '#policies/model.ts';
import { labelsIn, podFacts } from '#policies/objects.ts';
import { parsePolicy } from '#policies/parse_policy.ts';
import { PolicySet, type Unread } from '#policies/policy_set.ts';
import type { ApiGroups, PolicyObjects, Reading } from './policy_objects.ts';
import { CLUSTER_POLICIES, NETWORK_POLICIES, type PolicyResource } from './policy_resources.ts';

/** Time in milliseconds for which policies and Pods are kept, the labels of namespaces, and the API groups. */
const KEEP_MS = 60_000;
const KEEP_NAMESPACE_MS = 300_000;
const KEEP_GROUPS_MS = 3_600_000;
/** Time in milliseconds after which a failed request is sent again. */
const RETRY_MS = 30_000;
/** Age in milliseconds that policies must have to be read again before an unexplained drop is called unexplained. */
const STALE_MS = 5_000;
/** Maximum number of policies that are kept for a namespace, or for the cluster in each kind. */
const POLICIES_MAX = 500;
/** Policies of the namespace of an end that may be a Pod. No known namespace has this name. */
const UNKNOWN_NAMESPACE: Unread = { reason: 'policies of an unknown namespace', part: { namespace: '' } };
/** Maximum number of namespaces, Pods and other answers that are kept, each. */
const KEPT_MAX: Readonly<Record<LookupKind, number>> = {
  policies: 200,
  cluster: 4,
  pods: 1_000,
  namespaces: 200,
  groups: 1,
};
const REQUESTS_PER_SECOND = 2;
const REQUESTS_BURST = 15;

export const LOOKUP_KINDS = ['policies', 'cluster', 'pods', 'namespaces', 'groups'] as const;
export type LookupKind = (typeof LOOKUP_KINDS)[number];
/** Outcomes of look-ups: from memory, from the API, no right to read, failed, or too many requests. */
export const LOOKUP_OUTCOMES = ['kept', 'read', 'forbidden', 'failed', 'limited'] as const;
export type LookupOutcome = (typeof LOOKUP_OUTCOMES)[number];

interface Kept {
  readonly reading: Promise<Reading<unknown>>;
  readonly readMs: number;
  untilMs: number;
  /** When the entry was last read again early. */
  refreshedMs: number;
}

/**
 * Policies and the objects that they refer to, read from the API when an event needs them, and kept for a minute. There
 * is no watch, and the number of requests is limited, so that many nodes with drops do not load the API server.
 */
export class PolicyCache {
  readonly #objects: PolicyObjects;
  readonly #now: () => number;
  readonly #kept = new Map<LookupKind, Map<string, Kept>>(LOOKUP_KINDS.map((kind) => [kind, new Map()]));
  readonly #lookups = new Map<string, number>();
  #tokens = REQUESTS_BURST;
  #filledMs: number;

  constructor(objects: PolicyObjects, now: () => number = () => performance.now()) {
    this.#objects = objects;
    this.#now = now;
    this.#filledMs = now();
  }

  /** Number of look-ups by kind and outcome, separated by a space. */
  get lookups(): ReadonlyMap<string, number> {
    return this.#lookups;
  }

  /** Number of answers that are kept. */
  get size(): number {
    return [...this.#kept.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Returns the policies of these namespaces and of the cluster. Never throws.
   * @param isWhole whether both ends of the connection are known, so that no policies of other namespaces matter
   */
  async policies(namespaces: readonly string[], isWhole: boolean): Promise<PolicySet> {
    const policies: Policy[] = [];
    const unread: Unread[] = isWhole ? [] : [UNKNOWN_NAMESPACE];
    const groups = await this.#groups();
    const read = async (resource: PolicyResource, namespace: string | undefined) => {
      const kind: LookupKind = namespace === undefined ? 'cluster' : 'policies';
      const found = await this.#read<Policy[]>(kind, namespace ?? resource.name, KEEP_MS, async () => {
        const reading = await this.#objects.policies(resource, groups, namespace, POLICIES_MAX + 1);
        return 'value' in reading
          ? { value: reading.value.map((object) => parsePolicy(resource.kind, object)) }
          : reading;
      });
      const parts: Unread['part'][] = namespace === undefined ? [...TIERS] : [{ namespace }];
      const leaveOut = (reason: string) => unread.push(...parts.map((part) => ({ reason, part })));
      if ('missing' in found) {
        leaveOut(`${resource.name}, because ${found.missing}`);
        return;
      }
      policies.push(...found.value.slice(0, POLICIES_MAX));
      if (found.value.length > POLICIES_MAX) leaveOut(`${resource.name} beyond the first ${POLICIES_MAX}`);
    };
    for (const namespace of namespaces) await read(NETWORK_POLICIES, namespace);
    // A server without the group has none of these policies.
    for (const resource of CLUSTER_POLICIES) {
      if (groups === undefined || groups.has(resource.group)) await read(resource, undefined);
    }
    return new PolicySet(policies, unread);
  }

  /**
   * Makes the next look-up read the policies of these namespaces again if they are older than a few seconds, but at most
   * once a minute. Returns whether there is anything to read again.
   */
  refresh(namespaces: readonly string[]): boolean {
    const now = this.#now();
    const policies = this.#kept.get('policies');
    const stale = namespaces.flatMap((namespace) => policies?.get(namespace) ?? []);
    const due = stale.filter(({ readMs, refreshedMs }) => now - readMs >= STALE_MS && now - refreshedMs >= KEEP_MS);
    for (const entry of due) {
      entry.untilMs = now;
      entry.refreshedMs = now;
    }
    return due.length > 0;
  }

  /**
   * Returns a Pod as the end of a connection; undefined if there is no such Pod. Never throws.
   * @param withNamespace whether the labels of its namespace are needed
   */
  async pod(namespace: string, name: string, withNamespace: boolean): Promise<KnownEnd | undefined> {
    const found = await this.#read<unknown>('pods', `${namespace}/${name}`, KEEP_MS, () =>
      this.#objects.pod(namespace, name),
    );
    const known = withNamespace ? await this.#labelsOf(namespace) : undefined;
    if ('missing' in found) return unreadPodEnd(namespace, name, known);
    return found.value === undefined ? undefined : podEnd(podFacts(found.value), known);
  }

  async #labelsOf(namespace: string): Promise<Labels | undefined> {
    const found = await this.#read<unknown>('namespaces', namespace, KEEP_NAMESPACE_MS, () =>
      this.#objects.namespace(namespace),
    );
    return 'missing' in found || found.value === undefined ? undefined : labelsIn(found.value);
  }

  /** Returns the API groups of the server; undefined if they are not known. Never throws. */
  async groups(): Promise<Iterable<string> | undefined> {
    return (await this.#groups())?.keys();
  }

  async #groups(): Promise<ApiGroups | undefined> {
    const found = await this.#read<ApiGroups>('groups', '', KEEP_GROUPS_MS, () => this.#objects.groups());
    return 'missing' in found ? undefined : found.value;
  }

  async #read<T>(kind: LookupKind, key: string, keepMs: number, read: () => Promise<Reading<T>>): Promise<Reading<T>> {
    const kept = this.#kept.get(kind) ?? new Map<string, Kept>();
    const known = kept.get(key);
    const now = this.#now();
    if (known !== undefined && now < known.untilMs) {
      this.#count(kind, 'kept');
      return known.reading as Promise<Reading<T>>;
    }
    if (!this.#take(now)) {
      this.#count(kind, 'limited');
      return { missing: 'too many requests to the Kubernetes API would be needed' };
    }
    const reading = read().then(
      (found): Reading<T> => {
        this.#count(kind, 'missing' in found ? 'forbidden' : 'read');
        return found;
      },
      (error: Error): Reading<T> => {
        this.#count(kind, 'failed');
        entry.untilMs = this.#now() + RETRY_MS;
        return { missing: `they could not be read: ${error.message}` };
      },
    );
    const refreshedMs = known?.refreshedMs ?? Number.NEGATIVE_INFINITY;
    const entry: Kept = { reading, readMs: now, untilMs: now + keepMs, refreshedMs };
    kept.delete(key);
    if (kept.size >= KEPT_MAX[kind]) for (const oldest of [...kept.keys()].slice(0, 1)) kept.delete(oldest);
    kept.set(key, entry);
    return reading;
  }

  #take(now: number): boolean {
    this.#tokens = Math.min(REQUESTS_BURST, this.#tokens + ((now - this.#filledMs) / 1_000) * REQUESTS_PER_SECOND);
    this.#filledMs = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  #count(kind: LookupKind, outcome: LookupOutcome): void {
    const name = `${kind} ${outcome}`;
    this.#lookups.set(name, (this.#lookups.get(name) ?? 0) + 1);
  }
}
