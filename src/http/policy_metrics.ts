import { POLICY_VERDICTS, type PolicyVerdict } from '#api/words.ts';
import { LOOKUP_KINDS, LOOKUP_OUTCOMES } from '#kubernetes/policy_cache.ts';
import { defineMetrics, type LooseEmit, NO_LABELS, NODE } from '#probe/metric.ts';

const agent = { scope: 'agent', detail: 'core', source: 'agent' } as const;

/** Metrics of the policies that events name. They are absent unless `events.policies` is set. */
export const POLICY_METRICS = defineMetrics({
  policyDecisions: {
    ...agent,
    type: 'counter',
    name: 'netsonde_policy_decisions_total',
    help: 'Events whose connection was compared with the policies of the Kubernetes API, by verdict.',
    labels: { verdict: { help: 'Verdict; `none` if no policy selects either end.', values: POLICY_VERDICTS } },
  },
  policyLookups: {
    ...agent,
    type: 'counter',
    name: 'netsonde_policy_lookups_total',
    help: 'Look-ups of policies and the objects that they refer to.',
    labels: {
      resource: { help: 'Policies of a namespace or the cluster, or other objects.', values: LOOKUP_KINDS },
      outcome: {
        help: 'kept: from memory; read: from the Kubernetes API; forbidden: a right is missing; failed: no response; limited: too many requests.',
        values: LOOKUP_OUTCOMES,
      },
    },
  },
  policyObjects: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_policy_objects',
    help: 'Answers of the Kubernetes API about policies in memory.',
    labels: {},
  },
});

export interface PolicyState {
  /** Number of look-ups by resource and outcome, separated by a space. */
  readonly lookups: ReadonlyMap<string, number>;
  readonly objects: number;
  readonly decisions: ReadonlyMap<PolicyVerdict, number>;
}

export function emitPolicies(emit: LooseEmit, { lookups, objects, decisions }: PolicyState): void {
  for (const verdict of POLICY_VERDICTS) emit('policyDecisions', NODE, decisions.get(verdict) ?? 0, { verdict });
  for (const [name, count] of lookups) {
    const [resource = '', outcome = ''] = name.split(' ');
    emit('policyLookups', NODE, count, { resource, outcome });
  }
  emit('policyObjects', NODE, objects, NO_LABELS);
}
