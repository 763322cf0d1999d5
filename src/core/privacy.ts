/** Kinds of data that records and exemplars may leave out. */
export const PRIVATE = ['paths', 'names', 'peers', 'traces'] as const;
export type Private = (typeof PRIVATE)[number];

/** For each kind of data, whether it is shown. */
export type PrivacyRule = Readonly<Record<Private, boolean>>;

/** Rules by namespace; {@link OTHERS} stands for everything that has no rule of its own. */
export type PrivacyRules = Readonly<Record<string, PrivacyRule>>;

export const OTHERS = '*';

const SHOWN: PrivacyRule = { paths: true, names: true, peers: true, traces: true };

/**
 * Returns what is shown of data that concerns several namespaces: what all of their rules allow.
 * @param namespaces null for a namespace that is not known, which may be any
 */
export function ruleOf(rules: PrivacyRules, namespaces: readonly (string | null)[]): PrivacyRule {
  const all = Object.values(rules);
  if (all.length === 0) return SHOWN;
  const applied = namespaces.flatMap((namespace) =>
    namespace === null ? all : [rules[namespace] ?? rules[OTHERS] ?? SHOWN],
  );
  return Object.fromEntries(PRIVATE.map((what) => [what, applied.every((rule) => rule[what])])) as PrivacyRule;
}

/** Maximum number of decisions that are kept. */
const DECISIONS_MAX = 10_000;

/** Decides whether peers are shown on pages and in answers, which ask about the same few namespaces again and again. */
export class PeerPrivacy {
  readonly #decisions = new Map<string, boolean>();
  #rules: PrivacyRules = {};
  #hidesAny = false;

  get rules(): PrivacyRules {
    return this.#rules;
  }

  set rules(rules: PrivacyRules) {
    this.#rules = rules;
    this.#hidesAny = Object.values(rules).some(({ peers }) => !peers);
    this.#decisions.clear();
  }

  /**
   * Returns whether a peer is hidden.
   * @param namespace namespace of the entity; null if it is unknown
   * @param ofPeer namespace of the peer; empty if it has none
   */
  hides(namespace: string | null, ofPeer: string): boolean {
    if (!this.#hidesAny) return false;
    const key = JSON.stringify([namespace, ofPeer]);
    let isHidden = this.#decisions.get(key);
    if (isHidden === undefined) {
      isHidden = !ruleOf(this.#rules, ofPeer === '' ? [namespace] : [namespace, ofPeer]).peers;
      if (this.#decisions.size >= DECISIONS_MAX) this.#decisions.clear();
      this.#decisions.set(key, isHidden);
    }
    return isHidden;
  }
}
