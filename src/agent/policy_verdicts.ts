import type { PolicyJudge } from '#events/policies/judge.ts';
import type { PolicyState } from '#http/policy_metrics.ts';
import type { ApiSession } from '#kubernetes/api.ts';
import type { PolicyCache } from '#kubernetes/policy_cache.ts';
import type { PeerResolver } from '#peers/resolver.ts';

export interface PolicyVerdictsOptions {
  readonly peers: PeerResolver;
  /** Session of the Kubernetes API; undefined if the API is not used. */
  readonly session: () => ApiSession | undefined;
  /** Aborts requests. */
  readonly ending: AbortSignal;
  readonly warn: (message: string) => void;
}

/** Switches the naming of the policies that deny connections, and keeps the policies that were read while it is off. */
export class PolicyVerdicts {
  readonly #options: PolicyVerdictsOptions;
  #cache: PolicyCache | undefined;
  #judge: PolicyJudge | undefined;

  constructor(options: PolicyVerdictsOptions) {
    this.#options = options;
  }

  /** Undefined if events do not name policies. */
  get judge(): PolicyJudge | undefined {
    return this.#judge;
  }

  /** Undefined if events have never named policies. */
  get state(): PolicyState | undefined {
    const cache = this.#cache;
    return cache && { lookups: cache.lookups, objects: cache.size, decisions: this.#judge?.decisions ?? new Map() };
  }

  async setOn(isOn: boolean): Promise<void> {
    const { session: sessionOf, ending, peers, warn } = this.#options;
    const session = sessionOf();
    if (!isOn || session === undefined) {
      if (isOn) warn('events name no policies, because the Kubernetes API is not used');
      this.#judge = undefined;
      return;
    }
    // These modules are loaded only if they are used, to save memory.
    if (this.#cache === undefined) {
      const { PolicyObjects } = await import('#kubernetes/policy_objects.ts');
      const { PolicyCache } = await import('#kubernetes/policy_cache.ts');
      this.#cache = new PolicyCache(new PolicyObjects(session, ending, true));
    }
    const { PolicyJudge } = await import('#events/policies/judge.ts');
    this.#judge ??= new PolicyJudge({ cache: this.#cache, peers: () => peers });
  }
}
