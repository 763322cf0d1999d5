import { stringify } from 'yaml';
import * as z from 'zod';
import { LIMIT_KEYS } from '#config/limits.ts';
import { canFilterPods, commonKeys, documentKeys, FOR_EVENTS, POD_FILTER_KEYS } from '#config/schema.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { recordsSchema } from '#probe/records.ts';
import { PROBE_ALIASES, PROBES } from '#probes/index.ts';
import { table } from './markdown.ts';
import { optionTable } from './option_table.ts';

/** Renders docs/configuration.md from the schema. */

interface KeySchema {
  readonly description?: string;
  readonly default?: unknown;
}

/** Returns the schema of each key. */
function keysOf(shape: z.ZodRawShape): [string, KeySchema][] {
  const schema = z.toJSONSchema(z.object(shape), { io: 'input', unrepresentable: 'any' });
  return Object.entries(schema.properties ?? {}) as [string, KeySchema][];
}

function cell(value: unknown): string {
  return value === undefined ? '' : `\`${flow(value)}\``;
}

function flow(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim();
}

function keyTable(shape: z.ZodRawShape): string {
  const rows = keysOf(shape).map(([key, schema]) => [`\`${key}\``, cell(schema.default), schema.description ?? '']);
  return table(['key', 'default', 'what it does'], rows);
}

/** Renders the section of a probe with all of its own options at their defaults. */
function exampleOf({ name, enabledByDefault, options }: AnyProbe): string {
  const keys = keysOf(options as z.ZodRawShape);
  const lines = keys.flatMap(([key, schema]) => [
    `    # ${schema.description ?? ''}`,
    schema.default === undefined ? `    # ${key}:` : `    ${key}: ${flow(schema.default)}`,
  ]);
  return ['```yaml', 'probes:', `  ${name}:`, `    enabled: ${enabledByDefault}`, ...lines, '```'].join('\n');
}

function probeSection(probe: AnyProbe): string {
  const aliases = [...PROBE_ALIASES].filter(([, name]) => name === probe.name).map(([alias]) => `\`${alias}\``);
  const also = [
    ...(aliases.length > 0 ? [`Also called ${aliases.join(', ')}.`] : []),
    ...(canFilterPods(probe) ? ['It takes a Pod filter.'] : []),
  ];
  return [`### ${probe.name}`, '', [probe.summary, ...also].join(' '), '', exampleOf(probe)].join('\n');
}

const EXAMPLE = `
\`\`\`yaml
detail: core            # core: at most 60 series a Pod; full: everything
bpfStats: false         # true: measure the run time of each BPF program, some 60 ns more a run
probes:
  packetloss:           # on by default
    enabled: true
    metrics: true       # metrics and events are switched separately
    events: true
    detail: full        # of this probe
    limit: 100          # events a second that one namespace may cause; more are counted
    stack: true         # an option of this probe
    for: 15m            # then this section is ignored
    budget: 2%          # of one CPU; a probe that takes more is closed, and retried later
    pods:               # only these Pods, and not the node
      namespaces: [shop, data]
      selector: "app=web,tier!=back"
  softirq:              # off by default
    enabled: true
    until: 2026-12-24T03:00:00Z
  tcpreset:
    pods: { names: ["web-*"] }
  softnet: false        # short for { enabled: false }
nodes:                  # overrides for the nodes that match a label selector, in this order
  "node-role.kubernetes.io/control-plane":
    probes: { conntrack: false }
  "pool in (edge, gateway),!spot":
    detail: full
    probes: { netiftxlatency: { enabled: true, for: 1h } }
sinks:
  stdout: {}            # events, one JSON object a line; \`sinks: {}\` prints none
log:
  level: info           # the agent's own log, on stderr: error, warn, info or debug
\`\`\`
`.trim();

const LIMITS = `
The agent's metrics about itself are not counted and never folded. If a page would be longer, the agent halves the bounds of its labels, equally for every Pod, until it fits:
first the bounds that several labels share (edges), then those of single open labels. Sums stay exact, and \`netsonde_page_series_folded_total\` counts the folded
series. A fold ends once there was room for twice the bounded series for ten minutes, or when the limit is raised. A folded counter of an open label stays under
\`*\` until the agent restarts. Series without an open label are never left out, even if their number exceeds the limit.
\`netsonde_page_series\` is the number of series. The default folds nothing on a node with 500 Pods and every metric ([series](scale.md#series)).
`.trim();

const TIMED = `
A section with \`for\` or \`until\` is in force for that time. Then the agent ignores it: the rest of the document applies to the
probe, or its defaults. The document itself does not change. \`/api/v1/probes\` shows the end as \`until\`.

- \`for\` counts from the moment at which this section was first applied, by a clock that nobody sets; \`until\` is a time of the wall clock. An edit elsewhere in the
  document changes nothing; a section that was changed, or removed and restored, starts its time again.
- A restart of the agent changes nothing: it keeps the end of each section in \`timed.json\` in the folder of \`--state\` (default \`/var/lib/netsonde\`). The
  parent folder must exist; mount a writable one if the root is read-only. An \`emptyDir\` survives a restart of the container, a \`hostPath\` also a
  new Pod of the DaemonSet. If the agent cannot write the file, it says so, and \`for\` starts again after a restart. The agent reports and ignores a damaged file.
- After a reboot only the wall clock shows the remaining part of \`for\`; it is never more than \`for\`.
- A new \`until\` in the past is a fault. In the first document that an agent reads, the section counts as expired, so that a new node does not fail because of it.
- A node has at most 256 such sections.
`.trim();

const BUDGET = `
Every ten seconds the agent adds up the time that a probe with a \`budget\` took in that window: the run time of its BPF programs on all CPUs, and the
time to collect its metrics. It closes a probe that took more. The probe is \`failed\`, with a reason that has the figures and the time of the retry: after 30 seconds at
first, then twice as long each time, up to 30 minutes. The pauses start short again when the probe has kept to its budget for as long as the next pause would
last, or when its section changes.

- Measuring run times (\`bpf_enable_stats\`) needs CAP_SYS_ADMIN, or the sysctl \`kernel.bpf_stats_enabled=1\` on the node. Without it a BPF probe with a
  budget is \`degraded\`, and only the time to collect counts. The agent switches the measurement on only for a budget or \`bpfStats: true\`.
- A measured run takes some 60 ns longer, and the figure includes them: a program of 100 ns shows 160 ns. While the measurement is on, all BPF programs of the node pay that price.
- The time to collect is wall-clock time, and a window has ten seconds: a collection of 100 ms is 1 % of its window, even if it is rare.
`.trim();

const AIM = `
\`pods\` restricts an eBPF probe to some Pods: its programs check the network namespace first, and ignore all others. The filter follows Pods as they come and go
and change their labels. A Pod must match each of \`namespaces\`, \`selector\` and \`names\` that you set; \`pods: {}\` matches all Pods, but not the node.

- hostNetwork Pods share the namespace of the node, and cannot be selected.
- A Pod matches only after Kubernetes has reported it.
- Without Kubernetes there are no namespaces and labels, and \`names\` match the label \`pod\` of the metrics.
- \`pods:\` without a value means \`pods: {}\`.
- \`biolatency\` follows the requests of all Pods, because only the end of a request shows its owner, and counts those of the selected Pods.
`.trim();

const RECORDS = `
Some probes offer records beside metrics and events: a line for each thing that they saw. \`records\` in the section of such a probe selects the records to send, and a sink takes them if
its \`kinds\` name their kind ([sinks](sinks.md#kinds-of-records)). By default no records are sent.
`.trim();

const CHOICE = `
An example is \`records: { failed: true, slow: 1s, sample: 1%, perPod: 10/s }\`. A record is sent if at least one of \`failed\`, \`slow\` and \`sample\` selects it, and its Pod is within \`perPod\`. Only selected records use up that rate. Records beyond it are \`limited\` in
[the ledger](sinks.md#the-ledger-what-arrived-and-what-became-of-the-rest).
`.trim();

/** Lists the probes that offer records, from their definitions. */
function offers(): string {
  const lines = PROBES.flatMap(({ name, records }) =>
    records === undefined ? [] : [`- \`${name}\`, kind \`${records.kind}\`: ${records.help}`],
  );
  return lines.length === 0 ? 'No probe offers records yet.' : lines.join('\n');
}

const NODES = `
A key of \`nodes\` is a label selector in the syntax of Kubernetes: \`a=b\`, \`a!=b\`, \`a in (b, c)\`, \`a notin (b)\`, \`a\`, \`!a\`, joined by commas; the empty one
matches all nodes. A document may have 1,000 of them. The value of a key may have everything that this document may have. The agent merges the overrides that match its node into the rest in the written order: mappings key by
key, and for other values the last wins. Every node validates all of them. Outside of Kubernetes, set labels with \`--node-label KEY=VALUE\`.
`.trim();

export function configurationPage(notice: string): string {
  const example = PROBES.find(canFilterPods);
  if (example === undefined) throw new Error('no probe takes a Pod filter');
  const common = Object.fromEntries(
    Object.entries({ ...commonKeys(example), ...FOR_EVENTS }).filter(([key]) => key !== 'pods'),
  );
  return [
    notice,
    '',
    '# Configuration',
    '',
    'The configuration is one YAML document, of at most 256 KiB: a file, or a ConfigMap that is mounted as a folder. The agent watches it, and applies a change within a second, as a whole or not at',
    'all: a faulty document changes nothing, and the log and `/api/v1/config` show every fault with its place, its value and the allowed values.',
    '`netsonde check --config FILE` reports the same beforehand. Without a document the defaults apply.',
    '',
    EXAMPLE,
    '',
    '## Top-level keys',
    '',
    keyTable(documentKeys(PROBES)),
    '',
    '`nodes` has overrides for [some nodes](#overrides-for-some-nodes).',
    '',
    '## Limits',
    '',
    keyTable(LIMIT_KEYS),
    '',
    LIMITS,
    '',
    '## Keys of every probe',
    '',
    keyTable(common),
    '',
    '`netsonde probes` lists the default of `enabled`.',
    `Only probes with events have \`events\` and \`limit\`. Probes that take a Pod filter have \`pods\` with ${POD_FILTER_KEYS.map((key) => `\`${key}\``).join(', ')}.`,
    'Durations are `250us`, `10ms`, `2s`, `15m` or `1h`.',
    '',
    '## For a time',
    '',
    TIMED,
    '',
    '## Budgets',
    '',
    BUDGET,
    '',
    '## Pod filters',
    '',
    AIM,
    '',
    '## Records',
    '',
    RECORDS,
    '',
    offers(),
    '',
    optionTable(recordsSchema({ kind: '', help: '' })),
    '',
    CHOICE,
    '',
    '## Overrides for some nodes',
    '',
    NODES,
    '',
    '## Options of each probe',
    '',
    'The examples show the defaults.',
    '',
    ...PROBES.filter(({ options }) => Object.keys(options).length > 0).flatMap((probe) => [probeSection(probe), '']),
  ].join('\n');
}
