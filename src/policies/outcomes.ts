import { and } from './answer.ts';
import type { Connection, End } from './connection.ts';
import { matchesPeer, matchesRule } from './match.ts';
import { ACTIONS, type Action, type ClusterPolicy, type Direction, type Rule, type Tier } from './model.ts';
import type { PolicySet } from './policy_set.ts';

/** A possible result of a tier. `none` means that no rule of the tier matches. */
export interface Outcome {
  readonly effect: Action | 'none';
  /** Policies that cause the result, with their rules: `NetworkPolicy/shop/web ingress[0]`. */
  readonly by: readonly string[];
  /** Whether this is the result if no uncertain part of a policy matches. */
  readonly isSure: boolean;
  /** Rule that causes the result; undefined if there is none, or if several policies cause it. */
  readonly rule?: Rule | undefined;
}

/** All possible results of a tier. The actual result is one of them. */
export interface Outcomes {
  readonly possible: readonly Outcome[];
  /** Names of the missing facts because of which more than one result is possible. */
  readonly doubts: readonly string[];
}

/** The two ends of a connection from the perspective of a policy for one direction. */
export interface Question {
  readonly connection: Connection;
  readonly direction: Direction;
  readonly subject: End;
  readonly other: End;
}

export const NONE: Outcome = { effect: 'none', by: [], isSure: true };
const EFFECTS = [...ACTIONS, 'none'] as const;

/** Returns the possible results of one tier of cluster-wide policies. */
export function tierOutcomes(set: PolicySet, tier: Tier, question: Question): Outcomes {
  const sequences = set.inTier(tier).map((policies) => inOrder(policies, question));
  const unread = set.unreadTier(tier);
  if (unread.length > 0) sequences.push(anything([], unread));
  // If policies of two kinds match, the API does not define which of them takes effect.
  return sequences.length === 1 ? (sequences[0] as Outcomes) : atOnce(sequences);
}

/** Evaluates policies by priority. The first matching rule decides. */
function inOrder(policies: readonly ClusterPolicy[], question: Question): Outcomes {
  const possible: Outcome[] = [];
  const doubts: string[] = [];
  for (let first = 0, end = 0; first < policies.length; first = end) {
    const priority = policies[first]?.priority;
    end = first + 1;
    while (policies[end]?.priority === priority && end < policies.length) end++;
    const equals = policies.slice(first, end).map((policy) => ofPolicy(policy, question));
    // If several policies with the same priority match, the API allows an implementation to apply any of them.
    const group = equals.length === 1 ? (equals[0] as Outcomes) : atOnce(equals);
    doubts.push(...group.doubts);
    possible.push(...group.possible.filter(({ effect }) => effect !== 'none'));
    if (!group.possible.some(({ effect }) => effect === 'none')) return { possible, doubts };
  }
  return { possible: [...possible, NONE], doubts };
}

/** Combines the results of policies whose order is undefined. Any result other than `none` may take effect. */
function atOnce(all: readonly Outcomes[]): Outcomes {
  const matching = all.flatMap(({ possible }) => possible.filter(({ effect }) => effect !== 'none'));
  const isNonePossible = all.every(({ possible }) => possible.some(({ effect }) => effect === 'none'));
  const doubts = all.flatMap((outcomes) => outcomes.doubts);
  const sure = matching.filter(({ isSure }) => isSure);
  if (new Set(sure.map(({ effect }) => effect)).size > 1) {
    doubts.push(`which of these is applied first: ${sure.flatMap(({ by }) => by).join(', ')}`);
  }
  return { possible: isNonePossible ? [...matching, NONE] : matching, doubts };
}

function anything(by: readonly string[], doubts: readonly string[]): Outcomes {
  return { possible: EFFECTS.map((effect) => ({ effect, by, isSure: false })), doubts };
}

function ofPolicy(policy: ClusterPolicy, question: Question): Outcomes {
  const { connection, direction, subject, other } = question;
  if (policy.doubt !== undefined) return anything([policy.id], [policy.doubt]);
  const isSubject = matchesPeer(policy.subject, subject);
  if (isSubject === false) return { possible: [NONE], doubts: [] };
  const possible: Outcome[] = [];
  const doubts: string[] = [];
  for (const rule of policy.rules[direction]) {
    const match = and(isSubject, matchesRule(rule, connection, other));
    if (match === false) continue;
    const by = [`${policy.id} ${rule.place}`];
    const isSure = match === true && rule.actions.length === 1;
    for (const effect of rule.actions) possible.push({ effect, by, isSure, rule });
    if (match !== true) doubts.push(...match.reasons);
    if (rule.actions.length > 1) doubts.push(`action of ${policy.id} ${rule.place}`);
    if (match === true) return { possible, doubts };
  }
  return { possible: [...possible, NONE], doubts };
}
