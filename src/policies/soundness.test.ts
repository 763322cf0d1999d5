import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  clusterRule,
  connections,
  type GivenPolicy,
  lessKnown,
  npRule,
  parseAll,
  policySets,
} from '../../test/support/random_policies.ts';
import { decide, type Verdict } from './decide.ts';
import { DIRECTIONS } from './model.ts';
import { PolicySet, type Unread } from './policy_set.ts';

/** With incomplete knowledge, a verdict must be either the same as with complete knowledge, or unknown. */

const RUNS = 500;
const direction = fc.constantFrom(...DIRECTIONS);

function expectSound(less: Verdict, whole: Verdict): void {
  if (less !== 'unknown' && whole !== 'unknown') expect(less).toBe(whole);
  // A verdict that is unknown with complete knowledge cannot become known with less.
  if (whole === 'unknown') expect(less).toBe('unknown');
}

describe('missing knowledge', () => {
  it('about the ends of a connection never gives another verdict', () => {
    const tally = new Map<string, number>();
    const scenes = fc.record({ policies: policySets, whole: connections, direction });
    fc.assert(
      fc.property(
        scenes.chain((scene) => lessKnown(scene.whole).map((less) => ({ ...scene, less }))),
        ({ policies, whole, less, direction: to }) => {
          const set = new PolicySet(parseAll(policies));
          const verdicts = [decide(set, less, to).verdict, decide(set, whole, to).verdict] as const;
          expectSound(...verdicts);
          const pair = verdicts.join(' of ');
          tally.set(pair, (tally.get(pair) ?? 0) + 1);
        },
      ),
      { numRuns: RUNS },
    );
    // Guards against random scenes that never give one of these combinations of verdicts.
    for (const pair of ['allowed of allowed', 'denied of denied', 'unknown of allowed', 'unknown of denied']) {
      expect(tally.get(pair), pair).toBeGreaterThan(0);
    }
  });

  it('about policies that could not be read never gives another verdict', () => {
    const part = fc.constantFrom<Unread['part']>('admin', 'baseline', { namespace: 'shop' }, { namespace: undefined });
    fc.assert(
      fc.property(policySets, connections, direction, part, (policies, whole, to, unread) => {
        const all = parseAll(policies);
        const kept = all.filter((policy) =>
          policy.kind === 'NetworkPolicy'
            ? typeof unread !== 'object' || (unread.namespace ?? policy.namespace) !== policy.namespace
            : policy.tier !== unread,
        );
        const less = new PolicySet(kept, [{ reason: 'unread', part: unread }]);
        expectSound(decide(less, whole, to).verdict, decide(new PolicySet(all), whole, to).verdict);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('a rule with an unknown field', () => {
  /** Replaces the first rule of a direction. Returns undefined if there is no rule. */
  function withRule(given: GivenPolicy, field: 'ingress' | 'egress', rule: object): GivenPolicy | undefined {
    const { metadata, spec } = given.object;
    const rules = (spec as Record<string, readonly object[] | undefined>)[field];
    if (rules === undefined || rules.length === 0) return undefined;
    return { ...given, object: { metadata, spec: { ...spec, [field]: rules.with(0, rule) } } };
  }

  it('gives a verdict only if every rule in its place gives the same', () => {
    let decided = 0;
    const scenes = fc.record({ policies: policySets, whole: connections, field: direction, at: fc.nat(4) });
    const withRules = scenes.chain((scene) => {
      const kind = scene.policies[scene.at]?.kind ?? 'NetworkPolicy';
      const peers = scene.field === 'ingress' ? 'from' : 'to';
      const rule: fc.Arbitrary<object> = kind === 'NetworkPolicy' ? npRule(peers) : clusterRule(kind, peers);
      return fc.record({ scene: fc.constant(scene), first: rule, second: rule });
    });
    fc.assert(
      fc.property(withRules, ({ scene: { policies, whole, field, at }, first, second }) => {
        const given = policies[at];
        const verdictOf = (rule: object) => {
          const changed = given && withRule(given, field, rule);
          return changed && decide(new PolicySet(parseAll(policies.with(at, changed))), whole, field).verdict;
        };
        const doubtful = verdictOf({ ...first, brandNew: {} });
        if (doubtful === undefined || doubtful === 'unknown') return;
        decided++;
        // The action of the rule is known, so the rules that replace it must have the same action.
        for (const rule of [first, { ...second, ...('action' in first && { action: first.action }) }]) {
          expect(verdictOf(rule)).toBe(doubtful);
        }
      }),
      { numRuns: RUNS },
    );
    expect(decided).toBeGreaterThan(0);
  });
});

it('parsing never throws for an object with a name, whatever its spec is', () => {
  fc.assert(
    fc.property(policySets, fc.jsonValue(), connections, direction, (policies, spec, whole, to) => {
      const odd = policies.map(({ kind, object }) => ({ kind, object: { ...object, spec: spec as object } }));
      decide(new PolicySet(parseAll(odd)), whole, to);
    }),
  );
});
