import { isClosed, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { PROBE_ALIASES, PROBES } from '#probes/index.ts';
import { type Equivalent, isMissing, type KubeskoopProbe } from '../dashboards/kubeskoop/entry.ts';
import { KUBESKOOP } from '../dashboards/kubeskoop/names.ts';
import { rulesFile, selector } from '../dashboards/kubeskoop/rules.ts';
import { rulesTestFile } from '../dashboards/kubeskoop/rules_test_file.ts';
import { table } from './markdown.ts';
import { writeGenerated } from './write_generated.ts';

/**
 * Writes dashboards/rules/kubeskoop.yaml, its test, docs/kubeskoop-names.md and the fields that `netsonde convert`
 * uses. All of them are generated from dashboards/kubeskoop/names.ts.
 */

const RULES = new URL('../dashboards/rules/', import.meta.url);
const RULE_FILE = 'kubeskoop.yaml';
const LINE_MAX = 120;
const NOTICE = 'Made by scripts/generate_kubeskoop.ts from dashboards/kubeskoop/names.ts. Do not edit.';

const descriptors: readonly MetricDescriptor[] = PROBES.flatMap(({ metrics }) => Object.values(metrics as MetricSet));

const INTRODUCTION = `# KubeSkoop's names

This page is for users of KubeSkoop. Recording rules compute metrics with KubeSkoop's names and labels from those of netsonde, so that KubeSkoop's
dashboards and alerts continue to work during a migration. [Coming from KubeSkoop](migration.md) describes the whole migration.

## Use

1. Scrape netsonde with \`honor_labels: true\`, and set the label \`node\` to the name of the node in the scrape configuration. The rules
   copy \`node\` to \`k8s_node\`, which the variable of KubeSkoop's node dashboard needs. Without \`node\`, \`k8s_node\` is the \`instance\`.
2. Load [the rules](../dashboards/rules/kubeskoop.yaml) with \`rule_files\` in the Prometheus configuration, or put them under \`spec\` in a PrometheusRule:

   \`\`\`sh
   { printf 'apiVersion: monitoring.coreos.com/v1\\nkind: PrometheusRule\\nmetadata: { name: netsonde-kubeskoop }\\nspec:\\n'
     sed 's/^/  /' dashboards/rules/kubeskoop.yaml; } | kubectl apply -n netsonde -f -
   \`\`\`

   The evaluation interval of Prometheus should not be longer than the scrape interval.
3. Enable the probes that you need and that are off by default. If you need metrics with the detail \`full\` in the tables below, enable them with \`detail: full\` or
   in a \`fields\` list. [\`netsonde convert\`](migration.md) writes a configuration with these settings.

## Results of the rules

- The recorded series have the labels \`k8s_node\`, \`k8s_namespace\` and \`k8s_pod\`, which come from \`node\`, \`namespace\` and \`pod\`. The node's own series have neither a namespace nor a
  Pod. The rules add up all other labels, except those of RDMA devices, so no two series have the same labels.
- The values are those of netsonde, including cumulative ones, so \`rate()\` and \`increase()\` give the same results. KubeSkoop declares nearly all of these metrics as
  gauges, which makes no difference for queries.
- A failed scrape causes a gap rather than a partial sum.

With all series, an evaluation takes 3.5 ms per Pod (measured with Prometheus 2.42: 250 Pods with 157 series each take 0.9 s). Remove the rule groups that nothing
queries.
`;

const PODS_SOCKETS = `\`kubeskoop_sock_orphan\`, \`kubeskoop_sock_alloc\` and \`kubeskoop_sock_mem\` of a Pod: The kernel counts these only for the whole machine. A panel that adds a Pod's orphans
  to its sockets is empty, as it was with KubeSkoop.`;

function valueText(equivalent: Equivalent): string {
  const { scale } = equivalent;
  return `\`${selector(equivalent)}${scale === undefined ? '' : ` ${scale.join(' ')}`}\``;
}

function probeSection({ probe, remark, metrics }: KubeskoopProbe): string[] {
  const rows = Object.entries(metrics).map(([name, entry]) => {
    if (isMissing(entry)) return [`\`${name}\``, '', '', entry.missing];
    const detail = descriptors.find((descriptor) => descriptor.name === entry.metric)?.detail ?? '';
    return [`\`${name}\``, valueText(entry), detail, entry.remark ?? ''];
  });
  const isOff = PROBES.find(({ name }) => name === probe)?.enabledByDefault === false;
  const remarks = [...(isOff ? ['The probe is off by default.'] : []), ...(remark === undefined ? [] : [remark])];
  return [
    `### ${probe}`,
    '',
    ...(remarks.length === 0 ? [] : [remarks.join(' '), '']),
    table(['KubeSkoop', 'netsonde', 'detail', 'remark'], rows),
    '',
  ];
}

/** Lists the metrics that netsonde does not have, grouped by reason. */
function missingNames(): string[] {
  const entries = KUBESKOOP.flatMap(({ metrics }) => Object.entries(metrics));
  const lacking = entries.flatMap(([name, entry]) => (isMissing(entry) ? [{ name, reason: entry.missing }] : []));
  return [...Map.groupBy(lacking, ({ reason }) => reason)].map(
    ([reason, list]) => `- ${list.map(({ name }) => `\`${name}\``).join(', ')}: ${reason}`,
  );
}

/**
 * Returns the entries of `fields` that show the equivalents of a KubeSkoop probe's metrics. Only labels whose values
 * are listed in the descriptor can select series.
 */
function fieldsOf({ metrics }: KubeskoopProbe): string[] {
  const equivalents = Object.values(metrics).filter((entry): entry is Equivalent => !isMissing(entry));
  return [...Map.groupBy(equivalents, ({ metric }) => metric)].map(([metric, group]) => {
    const labels = descriptors.find(({ name }) => name === metric)?.labels ?? {};
    const chosen = group.map(({ only = {} }) =>
      Object.entries(only).filter(([label]) => labels[label] !== undefined && isClosed(labels[label])),
    );
    const [first] = chosen.flat();
    // If different labels select the metrics, a selection by one of these labels would omit series that another metric
    // needs.
    if (first === undefined || !chosen.every((pairs) => pairs.length === 1 && pairs[0]?.[0] === first[0]))
      return metric;
    return selector({ metric, only: { [first[0]]: chosen.flatMap((pairs) => pairs[0]?.[1] ?? []) as [string] } });
  });
}

/** Renders the file as biome formats it. */
function fieldsFile(): string {
  const entries = KUBESKOOP.flatMap((probe) => {
    const fields = fieldsOf(probe).map((field) => `'${field}'`);
    if (fields.length === 0) return [];
    const line = `  ${PROBE_ALIASES.get(probe.probe) ?? probe.probe}: [${fields.join(', ')}],`;
    return line.length <= LINE_MAX
      ? [line]
      : [line.slice(0, line.indexOf('[') + 1), ...fields.map((field) => `    ${field},`), '  ],'];
  });
  return [
    `// ${NOTICE}`,
    '',
    "/** The option `fields` of each probe that shows the series behind KubeSkoop's metrics. */",
    'export const FIELDS: Readonly<Record<string, readonly string[]>> = {',
    ...entries,
    '};',
    '',
  ].join('\n');
}

function namesPage(): string {
  return [
    `<!-- ${NOTICE} -->`,
    '',
    INTRODUCTION,
    '## Missing metrics',
    '',
    ...missingNames(),
    `- ${PODS_SOCKETS}`,
    '- The labels of both ends (such as `src` and `dst`): netsonde puts addresses into events, where they add no series.',
    '',
    '## Probes in the configuration',
    '',
    "Most probes have the same names. The configuration also accepts these names of KubeSkoop's probes:",
    '',
    table(
      ['KubeSkoop', 'netsonde'],
      [...PROBE_ALIASES].map(([alias, name]) => [`\`${alias}\``, `\`${name}\``]),
    ),
    '',
    '## Metrics',
    '',
    ...KUBESKOOP.flatMap(probeSection),
  ].join('\n');
}

writeGenerated(new URL(RULE_FILE, RULES), `# ${NOTICE}\n${rulesFile()}`);
writeGenerated(new URL('kubeskoop.test.yaml', RULES), `# ${NOTICE}\n${rulesTestFile(RULE_FILE, descriptors)}`);
writeGenerated(new URL('../docs/kubeskoop-names.md', import.meta.url), namesPage());
writeGenerated(new URL('../src/commands/kubeskoop/fields.ts', import.meta.url), fieldsFile());
