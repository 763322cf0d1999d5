import type * as z from 'zod';
import { PROBE_COLUMNS, probeRows } from '#commands/probes.ts';
import { canFilterPods } from '#config/schema.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { HookPoint } from '#probe/hooks.ts';
import type { MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { MODELS, panelsOf } from '../test/support/dashboards.ts';
import { costsOf } from './cost_tables.ts';
import { plain, table } from './markdown.ts';
import { optionRows } from './option_table.ts';

/** Renders docs/probes.md. */

const LEAD = `# Probes

This page describes each probe's purpose, cost, requirements and limitations. \`netsonde probes\` prints the table below. \`netsonde check\` and \`/api/v1/probes\` show which probes run on a
node, how they read the kernel, and why other probes do not run.

Probes that are off by default cost more than the others, or are useful only on some nodes. You can enable a probe [for a limited time](configuration.md#time-limits), [for some Pods](configuration.md#pod-filters)
and with [a CPU budget](configuration.md#budgets). The [runbook](runbook.md) shows which probe to use for which symptom.

- A Pod's numbers are those of its network namespace, so its containers are not distinguished. Pods with \`hostNetwork\` are attributed to the node. [Who owns a number](identity.md) has the details.
- A probe that lacks something is \`unsupported\` or \`degraded\` with a reason, and does not affect other probes. Tests determined which [probes run on each kernel](kernels.md), and
  [what they lose without a capability](capabilities.md#what-each-set-lacks).
- *Without the walks* refers to kernels before Linux 5.19 (6.1 for \`sock\` and \`tcpsummary\`) and to kernels without BTF. There, the agent reads counters from files or over netlink in each namespace, and gets the same numbers.
- Costs were measured on one machine on one day, by calling a probe in a loop. [The benchmarks](../bench/README.md) describe the method, and give the cost of the whole agent in operation.`;

interface Panel {
  readonly name: string;
  readonly queries: readonly string[];
}

const PANELS: readonly Panel[] = MODELS.flatMap((model) =>
  panelsOf(model).map(({ title, targets = [] }) => ({
    name: `${model.title.replace('netsonde / ', '')}: ${title}`,
    queries: targets.map(({ expr }) => expr),
  })),
);

/** Lists the dashboard panels that query one of the probe's metrics. */
function panelsFor({ metrics }: AnyProbe): string {
  const names = Object.values(metrics as MetricSet).map(
    ({ name }) => new RegExp(`\\b${name}(_bucket|_count|_sum)?\\b`),
  );
  const found = PANELS.filter(({ queries }) => queries.some((query) => names.some((name) => name.test(query))));
  return [...new Set(found.map(({ name }) => `*${name}*`))].join(', ') || 'none';
}

/**
 * Lists the kinds of hooks for a hook point, in order of preference. Kinds with the same limitation are listed
 * together.
 */
function waysOf({ what, optional, choices }: HookPoint): string {
  const ways = new Map<string, Set<string>>();
  for (const { hooks, lacks = '' } of choices) {
    const kinds = [...new Set(hooks.map(({ kind }) => `\`${kind}\``))].join(' with ');
    ways.set(lacks, (ways.get(lacks) ?? new Set()).add(kinds));
  }
  const texts = [...ways].map(([lacks, kinds]) => `${[...kinds].join(', or ')}${lacks === '' ? '' : `: ${lacks}`}`);
  return `*${what}*${optional === true ? ' (optional: the probe is degraded without it)' : ''}: ${texts.join('; otherwise ')}`;
}

function metricsOf({ name, metrics }: AnyProbe): string {
  const all = Object.values(metrics as MetricSet);
  const core = all.filter(({ detail }) => detail === 'core').length;
  const more = all.length === core ? '' : `, ${all.length} with \`detail: full\``;
  return `[${core}${more}](metrics.md#${name})`;
}

function optionsOf(probe: AnyProbe): string {
  const rows = optionRows(probe.options as z.ZodRawShape);
  const own = rows.map(([option, standard]) => (standard === '' ? option : `${option} (${standard})`)).join(', ');
  return [
    ...(rows.length === 0
      ? ['only [those of every probe](configuration.md#keys-of-every-probe)']
      : [`${own} ([description](configuration.md#${probe.name}))`]),
    ...(canFilterPods(probe) ? ['[`pods`](configuration.md#pod-filters)'] : []),
  ].join('; ');
}

function eventsOf({ events }: AnyProbe): string {
  return (
    Object.keys(events as object)
      .map((type) => `[\`${type}\`](events.md#${type})`)
      .join(', ') || 'none'
  );
}

function section(probe: AnyProbe): string {
  const { name, kind, cost, enabledByDefault, requires, hooks, guide } = probe;
  const capabilities = requires.capabilities.map((capability) => `\`${capability}\``).join(', ') || 'none';
  const facts = [
    ['by default', enabledByDefault ? 'on' : 'off'],
    ['kind', kind],
    ['cost', `${cost}. ${costsOf(probe)}`],
    ['kernel', plain(requires.kernel)],
    ['capabilities', capabilities],
    ...(hooks === undefined ? [] : [['hooks', hooks.points.map(waysOf).join('. ')]]),
    ['metrics', metricsOf(probe)],
    ['events', eventsOf(probe)],
    ['options', optionsOf(probe)],
    ['dashboard panels', panelsFor(probe)],
  ];
  return [
    `## ${name}`,
    '',
    `**${guide.question}**`,
    '',
    guide.when,
    '',
    factTable(facts),
    '',
    '```promql',
    guide.query,
    '```',
    '',
    ...guide.limits.map((limit) => `- ${limit}`),
  ].join('\n');
}

/** Renders the table of facts. Asterisks are not escaped because they mark panel titles. */
function factTable(rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(['', '']), line(['---', '---']), ...rows.map(line)].join('\n');
}

export function probesPage(notice: string): string {
  return [
    notice,
    '',
    LEAD,
    '',
    table(
      PROBE_COLUMNS.map((column) => column.toLowerCase()),
      probeRows().map(([name = '', ...rest]) => [`[\`${name}\`](#${name})`, ...rest]),
    ),
    '',
    ...PROBES.flatMap((probe) => [section(probe), '']),
  ].join('\n');
}
