import { type ClusterPolicy, type NetworkPolicy, type Policy, TIERS, type Tier } from './model.ts';

/** Maximum number of policies in a set. */
export const POLICIES_MAX = 10_000;

/** Policies that could not be read, with the reason. */
export interface Unread {
  readonly reason: string;
  /**
   * The affected tier, or the namespace whose NetworkPolicies are affected. A namespace of undefined means all
   * namespaces.
   */
  readonly part: Tier | { readonly namespace: string | undefined };
}

/**
 * Policies in the order of their evaluation. Policies beyond {@link POLICIES_MAX} are omitted, and every verdict that
 * they could change is unknown.
 */
export class PolicySet {
  /** Number of policies in the set. */
  readonly size: number;
  readonly #policies: readonly Policy[];
  readonly #byNamespace: ReadonlyMap<string, readonly NetworkPolicy[]>;
  readonly #tiers: Readonly<Record<Tier, readonly (readonly ClusterPolicy[])[]>>;
  readonly #unread: readonly Unread[];
  /** Unread policies, without those that exceed the maximum. */
  readonly #given: readonly Unread[];

  constructor(policies: readonly Policy[], unread: readonly Unread[] = []) {
    const kept = policies.slice(0, POLICIES_MAX);
    const reason = `${policies.length - kept.length} policies beyond the first ${POLICIES_MAX}`;
    const rest: Unread[] = [...TIERS, { namespace: undefined }].map((part) => ({ reason, part }));
    this.#given = unread;
    this.#unread = kept.length < policies.length ? [...unread, ...rest] : unread;
    this.size = kept.length;
    this.#policies = policies;
    const cluster = kept.filter((policy) => policy.kind !== 'NetworkPolicy');
    this.#byNamespace = Map.groupBy(
      kept.filter((policy) => policy.kind === 'NetworkPolicy'),
      ({ namespace }) => namespace,
    );
    const sequences = (tier: Tier) =>
      [
        ...Map.groupBy(
          cluster.filter((policy) => policy.tier === tier),
          ({ kind }) => kind,
        ).values(),
      ].map((ofKind) => ofKind.toSorted((a, b) => a.priority - b.priority));
    this.#tiers = { admin: sequences('admin'), baseline: sequences('baseline') };
  }

  /** Returns the NetworkPolicies of a namespace. */
  inNamespace(namespace: string): readonly NetworkPolicy[] {
    return this.#byNamespace.get(namespace) ?? [];
  }

  /**
   * Returns the policies of a tier: one list for each kind, ordered by priority. The API does not define an order
   * between policies of different kinds.
   */
  inTier(tier: Tier): readonly (readonly ClusterPolicy[])[] {
    return this.#tiers[tier];
  }

  /** Returns the reasons why policies of a tier are missing. */
  unreadTier(tier: Tier): readonly string[] {
    return this.#unread.filter(({ part }) => part === tier).map(({ reason }) => reason);
  }

  /** Returns the reasons why NetworkPolicies of a namespace are missing. */
  unreadNamespace(namespace: string): readonly string[] {
    return this.#unread
      .filter(({ part }) => typeof part === 'object' && (part.namespace ?? namespace) === namespace)
      .map(({ reason }) => reason);
  }

  /** Returns a set to which these policies are added. They replace policies of the same kind and name. */
  with(policies: readonly Policy[]): PolicySet {
    const changed = new Set(policies.map(({ id }) => id));
    const others = this.#policies.filter(({ id }) => !changed.has(id));
    return new PolicySet([...others, ...policies], this.#given);
  }

  /** Whether there are no policies, and it is certain that none are missing. */
  get isEmpty(): boolean {
    return this.size === 0 && this.#unread.length === 0;
  }
}
