import type { Answer, Unknown } from './answer.ts';
import type { Connection, End } from './connection.ts';
import { matchesPeer } from './match.ts';
import type { Direction, Rule } from './model.ts';
import { namespaceOutcomes } from './namespace_outcomes.ts';
import { type Outcome, type Outcomes, type Question, tierOutcomes } from './outcomes.ts';
import type { PolicySet } from './policy_set.ts';

export type Verdict = 'allowed' | 'denied' | 'unknown';

/**
 * Reason for a verdict:
 * - `rule`: a rule allows or denies the connection.
 * - `isolated`: policies that deny by default select the Pod, and none of their rules matches.
 * - `unselected`: no such policy selects the Pod, and no rule of any other policy applies to the connection.
 * - `uncertain`: facts are missing.
 * - All others are kinds of connections to which policies do not apply.
 */
export type Cause =
  | 'rule'
  | 'isolated'
  | 'unselected'
  | 'uncertain'
  | 'itself'
  | 'own node'
  | 'host network'
  | 'no pod';

/** Verdict for one direction. */
export interface Decision {
  readonly direction: Direction;
  readonly verdict: Verdict;
  readonly cause: Cause;
  /** Policies that decide, with their rules. For an unknown verdict, policies that might decide. */
  readonly by: readonly string[];
  /** Names of the missing facts if the verdict is unknown. */
  readonly unknown: readonly string[];
  /**
   * Whether a rule decides by the address of a Pod (`ipBlock` or `networks`), which not all implementations support.
   */
  readonly isByPodAddress: boolean;
}

export interface Decisions {
  readonly verdict: Verdict;
  readonly egress: Decision;
  readonly ingress: Decision;
}

/** Maximum number of policies, and of reasons, that a decision names. */
export const NAMED_MAX = 8;

/** Decides about both directions of a connection. The connection is allowed if it is allowed in both. */
export function decideBoth(set: PolicySet, connection: Connection): Decisions {
  const egress = decide(set, connection, 'egress');
  const ingress = decide(set, connection, 'ingress');
  const verdicts = [egress.verdict, ingress.verdict];
  const verdict = (['denied', 'unknown'] as const).find((one) => verdicts.includes(one)) ?? 'allowed';
  return { verdict, egress, ingress };
}

/**
 * Decides whether the policies allow a connection in one direction: `egress` according to the policies of the source,
 * and `ingress` according to those of the destination. The verdict is `unknown` if it depends on facts that are
 * missing.
 */
export function decide(set: PolicySet, connection: Connection, direction: Direction): Decision {
  const { source, destination } = connection;
  const [subject, other] = direction === 'egress' ? [source, destination] : [destination, source];
  const { pod } = subject;
  if (pod === undefined) return withoutPod(set, subject, direction);
  const results = new Results(direction, other);
  for (const [cause, answer] of exemptions(connection, direction)) {
    if (answer === true) return exempt(direction, cause);
    if (answer !== false) results.exempt(answer);
  }
  const question: Question = { connection, direction, subject, other };
  results.add(tierOutcomes(set, 'admin', question));
  if (results.goesOn) results.add(namespaceOutcomes(set, pod.namespace, question));
  if (results.goesOn) results.add(tierOutcomes(set, 'baseline', question));
  return results.decision();
}

/**
 * Returns the reasons why no policy can deny a connection: it connects a Pod with itself, or comes from the node of the
 * Pod (kubernetes/api, networking/v1/types.go). In addition, policies do not select Pods that use the network namespace
 * of their node.
 */
function exemptions({ destination, source, isToItself, isFromOwnNode }: Connection, direction: Direction) {
  const subject = direction === 'egress' ? source : destination;
  const all: (readonly [Cause, Answer])[] = [
    ['host network', subject.pod?.isHostNetwork ?? false],
    ['itself', isToItself],
  ];
  if (direction === 'ingress') all.push(['own node', isFromOwnNode]);
  return all;
}

function exempt(direction: Direction, cause: Cause): Decision {
  return { direction, verdict: 'allowed', cause, by: [], unknown: [], isByPodAddress: false };
}

/** Decides about an end that is not known to be a Pod. If it may be one, any policy may apply to it. */
function withoutPod(set: PolicySet, { isPod, name }: End, direction: Direction): Decision {
  if (isPod === false || set.isEmpty) return exempt(direction, 'no pod');
  const unknown = isPod === true ? [`namespace of ${name}`] : isPod.reasons;
  return { direction, verdict: 'unknown', cause: 'uncertain', by: [], unknown, isByPodAddress: false };
}

/** Collects the possible results of all tiers. */
class Results {
  readonly #direction: Direction;
  readonly #other: End;
  readonly #allowed: Outcome[] = [];
  readonly #denied: Outcome[] = [];
  readonly #doubts: string[] = [];
  /** Rules that certainly pass the decision on to the next tier. */
  readonly #passing: string[] = [];
  /** Whether the decision may be left to the next tier. */
  goesOn = true;

  constructor(direction: Direction, other: End) {
    this.#direction = direction;
    this.#other = other;
  }

  /** Adds the possibility that no policy applies. */
  exempt({ reasons }: Unknown): void {
    this.#allowed.push({ effect: 'none', by: [], isSure: false });
    this.#doubts.push(...reasons);
  }

  add({ possible, doubts }: Outcomes): void {
    this.#doubts.push(...doubts);
    this.goesOn = false;
    for (const outcome of possible) {
      if (outcome.effect === 'accept') this.#allowed.push(outcome);
      else if (outcome.effect === 'deny') this.#denied.push(outcome);
      else this.goesOn = true;
      if (outcome.effect === 'pass' && outcome.isSure) this.#passing.push(...outcome.by);
    }
  }

  decision(): Decision {
    const direction = this.#direction;
    // If no tier decides, a connection is allowed.
    if (this.goesOn) this.#allowed.push({ effect: 'none', by: this.#passing, isSure: true });
    if (this.#allowed.length > 0 && this.#denied.length > 0) {
      const by = namesOf([...this.#denied, ...this.#allowed]);
      const unknown = [...new Set(this.#doubts)].slice(0, NAMED_MAX);
      return { direction, verdict: 'unknown', cause: 'uncertain', by, unknown, isByPodAddress: false };
    }
    const isDenied = this.#denied.length > 0;
    const all = isDenied ? this.#denied : this.#allowed;
    const sure = all.filter(({ isSure }) => isSure);
    const deciding = sure.length > 0 ? sure : all;
    const by = namesOf(deciding);
    const rules = deciding.flatMap(({ rule }) => rule ?? []);
    const cause = rules.length > 0 ? 'rule' : isDenied ? 'isolated' : 'unselected';
    const isByPodAddress = rules.some((rule) => isByNetworkOnly(rule, this.#other));
    return { direction, verdict: isDenied ? 'denied' : 'allowed', cause, by, unknown: [], isByPodAddress };
  }
}

function namesOf(outcomes: readonly Outcome[]): string[] {
  const given = [...new Set(outcomes.flatMap(({ by }) => by))];
  // A rule is listed after the name of its policy and a space. Names of policies contain no space.
  const named = new Set(given.flatMap((one) => (one.includes(' ') ? [one.split(' ', 1)[0]] : [])));
  const all = given.filter((one) => !named.has(one));
  return all.length > NAMED_MAX ? [...all.slice(0, NAMED_MAX), `+${all.length - NAMED_MAX}`] : all;
}

/** Whether a rule matches a Pod only by its address. */
function isByNetworkOnly({ peers }: Rule, other: End): boolean {
  if (other.pod === undefined || peers === undefined) return false;
  const matching = peers.filter((peer) => matchesPeer(peer, other) === true);
  return matching.length > 0 && matching.every(({ kind }) => kind === 'networks');
}
