import { isClosed, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { PROBE_ALIASES, PROBES } from '#probes/index.ts';
import { type Equivalent, isMissing, type KubeskoopProbe } from '../dashboards/kubeskoop/entry.ts';
import { KUBESKOOP } from '../dashboards/kubeskoop/names.ts';
import { rulesFile, selector } from '../dashboards/kubeskoop/rules.ts';
import { rulesTestFile } from '../dashboards/kubeskoop/rules_test_file.ts';
import { table } from './markdown.ts';
import { writeGenerated } from './write_generated.ts';

/** Writes dashboards/rules/kubeskoop.yaml, its test, docs/kubeskoop-names.md and the fields of `netsonde convert` from dashboards/kubeskoop/names.ts. */

const RULES = new URL('../dashboards/rules/', import.meta.url);
const RULE_FILE = 'kubeskoop.yaml';
const LINE_MAX = 120;
const NOTICE = 'Made by scripts/generate_kubeskoop.ts from dashboards/kubeskoop/names.ts. Do not edit.';

const descriptors: readonly MetricDescriptor[] = PROBES.flatMap(({ metrics }) => Object.values(metrics as MetricSet));

const INTRODUCTION = `# KubeSkoop's names

For those who come from KubeSkoop: recording rules that give its metrics, with its names and labels, from those of netsonde. Its
dashboards and alerts go on working while both are moved. How to move all of it is in [coming from KubeSkoop](migration.md).

## Use

1. Scrape netsonde with \`honor_labels: true\`, and have the scrape configuration put the name of the node into the label \`node\`. It
   becomes \`k8s_node\`, and the variable of KubeSkoop's node dashboard asks for it; without it \`k8s_node\` is the \`instance\`.
2. Load [the rules](../dashboards/rules/kubeskoop.yaml): with \`rule_files\` in the configuration of Prometheus, or below \`spec\` of a PrometheusRule:

   \`\`\`sh
   { printf 'apiVersion: monitoring.coreos.com/v1\\nkind: PrometheusRule\\nmetadata: { name: netsonde-kubeskoop }\\nspec:\\n'
     sed 's/^/  /' dashboards/rules/kubeskoop.yaml; } | kubectl apply -n netsonde -f -
   \`\`\`

   They are evaluated at the interval of Prometheus, which should not be longer than that of the scrapes.
3. Switch on what you use and is not shown by default: probes that are off, and, with \`detail: full\` or a list \`fields\`, the metrics that are
   \`full\` below. [\`netsonde convert\`](migration.md) writes both.

## What the rules give

- The labels \`k8s_node\`, \`k8s_namespace\` and \`k8s_pod\`, from \`node\`, \`namespace\` and \`pod\`. The node's own series have neither a namespace nor a
  Pod. All other labels are added up, but for those of RDMA devices, so no two series are equal.
- The values as they are, cumulative ones too: \`rate()\` and \`increase()\` of a recorded series are those of ours. KubeSkoop calls nearly all of them
  gauges, which makes no difference to a query.
- A scrape that failed leaves a gap, not a sum of what is left.

An evaluation takes Prometheus 3.5 ms for each Pod that shows everything (2.42, 250 Pods of 157 series in 0.9 s): leave out the groups that nothing
asks for.
`;

const PODS_SOCKETS = `\`kubeskoop_sock_orphan\`, \`_alloc\` and \`_mem\` of a Pod: the kernel counts them for the whole machine. A panel that adds the orphans of a Pod
  to its sockets stays as empty as it was.`;

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
  const remarks = [...(isOff ? ['Off by default.'] : []), ...(remark === undefined ? [] : [remark])];
  return [
    `### ${probe}`,
    '',
    ...(remarks.length === 0 ? [] : [remarks.join(' '), '']),
    table(['KubeSkoop', 'netsonde', 'detail', 'remark'], rows),
    '',
  ];
}

/** A line for each reason. */
function missingNames(): string[] {
  const entries = KUBESKOOP.flatMap(({ metrics }) => Object.entries(metrics));
  const lacking = entries.flatMap(([name, entry]) => (isMissing(entry) ? [{ name, reason: entry.missing }] : []));
  return [...Map.groupBy(lacking, ({ reason }) => reason)].map(
    ([reason, list]) => `- ${list.map(({ name }) => `\`${name}\``).join(', ')}: ${reason}`,
  );
}

/** The entries of `fields` that show what these are made from. Labels whose values are not listed cannot be chosen by. */
function fieldsOf({ metrics }: KubeskoopProbe): string[] {
  const equivalents = Object.values(metrics).filter((entry): entry is Equivalent => !isMissing(entry));
  return [...Map.groupBy(equivalents, ({ metric }) => metric)].map(([metric, group]) => {
    const labels = descriptors.find(({ name }) => name === metric)?.labels ?? {};
    const chosen = group.map(({ only = {} }) =>
      Object.entries(only).filter(([label]) => labels[label] !== undefined && isClosed(labels[label])),
    );
    const [first] = chosen.flat();
    // A label of one of them only would leave out what another counts.
    if (first === undefined || !chosen.every((pairs) => pairs.length === 1 && pairs[0]?.[0] === first[0]))
      return metric;
    return selector({ metric, only: { [first[0]]: chosen.flatMap((pairs) => pairs[0]?.[1] ?? []) as [string] } });
  });
}

/** As biome formats it. */
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
    "/** By probe: the series that give the numbers of KubeSkoop's metrics, as `fields` of its section takes them. */",
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
    '## What they cannot give',
    '',
    ...missingNames(),
    `- ${PODS_SOCKETS}`,
    '- The labels of both ends (`src`, `dst` and what belongs to them): addresses are in events, where they do not grow into series.',
    '',
    '## Probes in the configuration',
    '',
    'The names of the probes are the same, but for these, which the configuration understands as soon as there is the probe:',
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
