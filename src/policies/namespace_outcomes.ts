import { type Answer, and, some, Unknown } from './answer.ts';
import { matchesPeer, matchesRule } from './match.ts';
import type { NetworkPolicy, Rule } from './model.ts';
import { NONE, type Outcome, type Outcomes, type Question } from './outcomes.ts';
import type { PolicySet } from './policy_set.ts';

/** A NetworkPolicy that has rules for the direction and may select the subject. */
interface Concern {
  readonly id: string;
  readonly isSelected: Answer;
  /** Whether any of its rules matches. */
  readonly isMatched: Answer;
  /** The first rule that certainly matches. If there is none, the first rule that may match. */
  readonly rule: Rule | undefined;
}

/**
 * Returns the possible results of the NetworkPolicies. If a policy selects a Pod, the Pod is isolated in that
 * direction: only connections that match a rule of a selecting policy are allowed (kubernetes/api,
 * networking/v1/types.go).
 */
export function namespaceOutcomes(set: PolicySet, namespace: string, question: Question): Outcomes {
  const allowing: Outcome[] = [];
  const concerns: Concern[] = [];
  for (const policy of set.inNamespace(namespace)) {
    const concern = concernOf(policy, question);
    if (concern === undefined) continue;
    const { id, isSelected, isMatched, rule } = concern;
    const allows = and(isSelected, isMatched);
    const by = rule === undefined ? [id] : [`${id} ${rule.place}`];
    if (allows === true) return { possible: [{ effect: 'accept', by, isSure: true, rule }], doubts: [] };
    if (allows !== false) allowing.push({ effect: 'accept', by, isSure: false, rule });
    concerns.push(concern);
  }
  const possible = [...allowing, ...withoutMatch(concerns)];
  const doubts = concerns.flatMap(({ isSelected, isMatched }) => [isSelected, isMatched].flatMap(reasonsOf));
  const unread = set.unreadNamespace(namespace);
  if (unread.length === 0) return { possible, doubts };
  const unsure = (['accept', 'deny'] as const).map((effect) => ({ effect, by: [], isSure: false }));
  return { possible: [...possible, ...unsure], doubts: [...doubts, ...unread] };
}

function reasonsOf(answer: Answer): readonly string[] {
  return answer instanceof Unknown ? answer.reasons : [];
}

/** Returns the possible results for the case that none of the rules that only may match does match. */
function* withoutMatch(concerns: readonly Concern[]): Generator<Outcome> {
  const isIsolated = some(concerns, ({ isSelected }) => isSelected);
  // If a rule of a policy certainly matches, the policy does not deny the connection, whether or not it selects the
  // Pod.
  if (concerns.some(({ isMatched }) => isMatched !== true)) {
    const isolating = concerns.filter(({ isSelected }) => (isSelected === true) === (isIsolated === true));
    yield { effect: 'deny', by: isolating.map(({ id }) => id), isSure: isIsolated === true };
  }
  if (isIsolated !== true) yield NONE;
}

/** Returns undefined if the policy does not apply to the subject or the direction. */
function concernOf(policy: NetworkPolicy, { connection, direction, subject, other }: Question): Concern | undefined {
  const { id, namespace, pods, rules, doubt } = policy;
  if (doubt !== undefined) {
    const unknown = new Unknown(doubt);
    return { id, isSelected: unknown, isMatched: unknown, rule: undefined };
  }
  const own = rules[direction];
  if (own === undefined) return undefined;
  const isSelected = matchesPeer({ kind: 'pods', namespaces: namespace, pods }, subject);
  if (isSelected === false) return undefined;
  let rule: Rule | undefined;
  const isMatched = some(own, (candidate) => {
    const answer = matchesRule(candidate, connection, other);
    if (answer === true || (answer !== false && rule === undefined)) rule = candidate;
    return answer;
  });
  return { id, isSelected, isMatched, rule };
}
