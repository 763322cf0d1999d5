import { type Equivalent, isMissing, type KubeskoopProbe } from './entry.ts';
import { KUBESKOOP } from './names.ts';

export interface Rule {
  readonly name: string;
  readonly equivalent: Equivalent;
}

export function rulesOf({ metrics }: KubeskoopProbe): Rule[] {
  return Object.entries(metrics).flatMap(([name, entry]) => (isMissing(entry) ? [] : [{ name, equivalent: entry }]));
}

/** Renders a selector such as `netsonde_tcp_aborts_total{cause="close"}`. */
export function selector({ metric, only = {}, without = {}, rdma }: Equivalent): string {
  const matchers = [
    ...Object.entries(only).map(([label, values]) =>
      values.length === 1 ? `${label}="${values[0]}"` : `${label}=~"${values.join('|')}"`,
    ),
    ...Object.entries(without).map(([label, value]) => `${label}!="${value}"`),
    ...(rdma?.driver === undefined ? [] : [`device=~"${rdma.driver}_.*"`]),
  ];
  return matchers.length === 0 ? metric : `${metric}{${matchers.join(',')}}`;
}

/** Returns the labels that the sum of a rule keeps. */
export function keptLabels({ rdma }: Equivalent): string[] {
  const kept = ['k8s_node', 'k8s_namespace', 'k8s_pod'];
  if (rdma === undefined) return kept;
  return [...kept, 'device', 'type', ...(rdma.perPort ? ['port'] : [])];
}

/** Arguments of label_replace(). If the pattern does not match, the label keeps its value. */
type Replacement = readonly [label: string, value: string, from: string, pattern: string];

const STANDARD: readonly Replacement[] = [
  ['k8s_node', '$1', 'instance', '(.*)'],
  ['k8s_node', '$1', 'node', '(.+)'],
  ['k8s_namespace', '$1', 'namespace', '(.*)'],
  ['k8s_pod', '$1', 'pod', '(.*)'],
];

const OF_DEVICE: readonly Replacement[] = [
  ['type', 'unknown', 'device', '.*'],
  ['type', '$1', 'device', '(mlx5|erdma)_.*'],
];

export function expression(equivalent: Equivalent): string {
  const { rdma, scale } = equivalent;
  const replacements = [...STANDARD, ...(rdma === undefined ? [] : OF_DEVICE)];
  const words = replacements.map((replacement) => replacement.map((word) => `"${word}"`).join(', '));
  return [
    `sum by (${keptLabels(equivalent).join(', ')}) (`,
    `  ${'label_replace('.repeat(words.length)}${selector(equivalent)},`,
    `    ${words.join('), ')})`,
    `)${scale === undefined ? '' : ` ${scale.join(' ')}`}`,
  ].join('\n');
}

function renderRule({ name, equivalent }: Rule): string {
  const lines = expression(equivalent).split('\n');
  return [`      - record: ${name}`, '        expr: |-', ...lines.map((line) => `          ${line}`)].join('\n');
}

/**
 * Renders the rule file with one group per probe
 * (https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/).
 */
export function rulesFile(): string {
  const groups = KUBESKOOP.filter((probe) => rulesOf(probe).length > 0);
  return [
    'groups:',
    ...groups.flatMap((probe) => [
      `  - name: kubeskoop_${probe.probe}`,
      '    rules:',
      ...rulesOf(probe).map(renderRule),
    ]),
    '',
  ].join('\n');
}
