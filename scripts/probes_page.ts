import type * as z from 'zod';
import { PROBE_COLUMNS, probeRows } from '#commands/probes.ts';
import { canAim } from '#config/schema.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { HookPoint } from '#probe/hooks.ts';
import type { MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { MODELS, panelsOf } from '../test/support/dashboards.ts';
import { costsOf } from './cost_tables.ts';
import { plain, table } from './markdown.ts';
import { optionRows } from './option_table.ts';

/** docs/probes.md */

const LEAD = `# Probes

What each probe is for, what it costs and needs, and what it does not see. \`netsonde probes\` prints the table; \`netsonde check\` and \`/api/v1/probes\` say which of them run on a
node, by what means, and why another does not.

Probes that are off by default cost more, or are of use only on some nodes. Switch one on [for a time](configuration.md#for-a-time), [aimed at some Pods](configuration.md#aimed-at-some-pods)
and with [a budget](configuration.md#budgets). The [runbook](runbook.md) goes by symptom.

All of them have this in common:

- A Pod's numbers are those of its network namespace: its containers are not distinguished, and Pods with hostNetwork count as the node. [Who owns a number](identity.md) says more.
- A probe that lacks something is \`unsupported\` or \`degraded\`, with the reason, and takes no other down. [What runs on which kernel](kernels.md) and
  [what is lost without a capability](capabilities.md#what-each-set-lacks) were measured.
- *Without the passes*: before Linux 5.19, for \`sock\` and \`tcpsummary\` 6.1, or without BTF, counters are read from files or over netlink in each namespace. The numbers are the same.
- Costs are of one machine on one day, and of a probe called in a loop: [how they were measured, and what the whole agent costs as it runs](../bench/README.md).`;

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

/** Those that ask for one of its metrics. */
function panelsFor({ metrics }: AnyProbe): string {
  const names = Object.values(metrics as MetricSet).map(
    ({ name }) => new RegExp(`\\b${name}(_bucket|_count|_sum)?\\b`),
  );
  const found = PANELS.filter(({ queries }) => queries.some((query) => names.some((name) => name.test(query))));
  return [...new Set(found.map(({ name }) => `*${name}*`))].join(', ') || 'none';
}

/** The ways to see one thing, the best first; those that lack the same together. */
function waysOf({ what, optional, choices }: HookPoint): string {
  const ways = new Map<string, Set<string>>();
  for (const { hooks, lacks = '' } of choices) {
    const kinds = [...new Set(hooks.map(({ kind }) => `\`${kind}\``))].join(' with ');
    ways.set(lacks, (ways.get(lacks) ?? new Set()).add(kinds));
  }
  const texts = [...ways].map(([lacks, kinds]) => `${[...kinds].join(', or ')}${lacks === '' ? '' : `: ${lacks}`}`);
  return `*${what}*${optional === true ? ' (degraded without)' : ''} by ${texts.join('; else ')}`;
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
    ...(rows.length === 0 ? ['none of its own'] : [`${own}: [what they do](configuration.md#${probe.name})`]),
    ...(canAim(probe) ? ['[`pods`](configuration.md#aimed-at-some-pods)'] : []),
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
    ['kind, cost', `${kind}, ${cost}. ${costsOf(name)}`],
    ['kernel', plain(requires.kernel)],
    ['capabilities', capabilities],
    ...(hooks === undefined ? [] : [['attaches to', hooks.points.map(waysOf).join('. ')]]),
    ['metrics', metricsOf(probe)],
    ['events', eventsOf(probe)],
    ['options', optionsOf(probe)],
    ['panels', panelsFor(probe)],
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

/** Titles of panels are in asterisks, which are not to be shown. */
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
