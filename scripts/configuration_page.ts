import { stringify } from 'yaml';
import * as z from 'zod';
import { LIMIT_KEYS } from '#config/limits.ts';
import { AIM_KEYS, canAim, commonKeys, documentKeys, FOR_EVENTS } from '#config/schema.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { recordsSchema } from '#probe/records.ts';
import { PROBE_ALIASES, PROBES } from '#probes/index.ts';
import { table } from './markdown.ts';
import { optionTable } from './option_table.ts';

/** docs/configuration.md, from the schema. */

interface KeySchema {
  readonly description?: string;
  readonly default?: unknown;
}

/** What the schema says of each key. */
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

/** The section of a probe with all of its own options, as they are by default. */
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
    ...(canAim(probe) ? ['It can be aimed at Pods.'] : []),
  ];
  return [`### ${probe.name}`, '', [probe.summary, ...also].join(' '), '', exampleOf(probe)].join('\n');
}

const EXAMPLE = `
\`\`\`yaml
detail: core            # core: at most 60 series a Pod; full: everything
bpfStats: false         # true: measure how long each BPF program runs, some 60 ns more a run
probes:
  packetloss:           # on by default
    enabled: true
    metrics: true       # metrics and events are switched apart
    events: true
    detail: full        # of this probe
    limit: 100          # events a second that one namespace may cause; more are counted
    stack: true         # an option of its own
    for: 15m            # then as if this section were not here
    budget: 2%          # of one CPU; closed, and tried again later, when it takes more
    pods:               # only these Pods, and not the node
      namespaces: [shop, data]
      selector: "app=web,tier!=back"
  softirq:              # off by default
    enabled: true
    until: 2026-12-24T03:00:00Z
  tcpreset:
    pods: { names: ["web-*"] }
  softnet: false        # short for { enabled: false }
nodes:                  # overrides for the nodes that a label selector means, in this order
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
The agent's metrics about itself are not counted and never folded. A page that would be longer has the bounds of its labels halved, for every Pod alike, until it fits:
those that several labels share (edges) first, then those of single open labels. Sums stay exact, and \`netsonde_page_series_folded_total\` counts what was
folded. A fold is taken back once there was room for twice of what is bounded for ten minutes, or when the limit is raised. A counter of an open label that was folded stays under
\`*\` until the agent starts anew. Series without an open label are never left out: a limit below their number is not kept.
\`netsonde_page_series\` has how many there are. The default folds nothing on a node with 500 Pods and every metric ([series](scale.md#series)).
`.trim();

const TIMED = `
A section with \`for\` or \`until\` is in force for that time. Then it is as if it were not in the document: what the rest of the document says of the
probe holds, and else its defaults. The document is not changed. \`/api/v1/probes\` shows the end as \`until\`.

- \`for\` counts from when this section was first applied, by a clock that nobody sets; \`until\` is a time of the wall clock. An edit elsewhere in the
  document changes nothing; a section that says something else, or was gone meanwhile, counts anew.
- A restart of the agent changes nothing: when each section ends is kept in \`timed.json\` in the folder of \`--state\` (default \`/var/lib/netsonde\`). The
  folder above must be there; mount a writable one where the root is read-only. An \`emptyDir\` survives a restart of the container, a \`hostPath\` also a
  new Pod of the DaemonSet. Where nothing can be written the agent says so, and \`for\` counts anew after a restart. A file that is damaged is told of and ignored.
- After a reboot only the wall clock tells how much of \`for\` is left; it is never more than \`for\`.
- \`until\` in the past is a fault where it is new. In the first document that an agent reads it is over: a new node must not fail for it.
- A node has at most 256 such sections.
`.trim();

const BUDGET = `
Every ten seconds the agent adds up what a probe with a \`budget\` took since the last time: the run time of its BPF programs on all CPUs, and the
time to collect its metrics. One that took more is closed and \`failed\`, and the reason has the figures and when it is tried again: after 30 seconds at
first, then twice as long each time, up to 30 minutes. It starts over with short pauses when it has kept to its budget for as long as it would have to
pause, or when its section changes.

- To have run times measured (\`bpf_enable_stats\`) takes CAP_SYS_ADMIN, or the sysctl \`kernel.bpf_stats_enabled=1\` on the node. Without it a BPF probe with a
  budget is \`degraded\`, and only the time to collect counts. It is switched on while a budget or \`bpfStats: true\` asks for it.
- A measured run takes some 60 ns longer, and these are in the figure: a program of 100 ns is seen with 160 ns. While it is on all BPF programs of the node pay that.
- The time to collect is wall-clock time, and a window has ten seconds: a collection of 100 ms is 1 % of the one that it falls into, however rare it is.
`.trim();

const AIM = `
\`pods\` aims an eBPF probe: its programs ask for the network namespace first, and leave all others alone. What is aimed at follows Pods as they come and go
and change their labels. All of \`namespaces\`, \`selector\` and \`names\` that are given must be true of a Pod; \`pods: {}\` means all Pods, and not the node.

- hostNetwork Pods share the namespace of the node, and cannot be aimed at.
- A Pod that Kubernetes has not told of yet is not aimed at.
- Without Kubernetes there are no namespaces and labels, and \`names\` are matched with what the metrics have as \`pod\`.
- \`pods:\` with nothing behind it is \`pods: {}\`.
- \`biolatency\` follows the requests of all, because only their end tells what they were, and counts those that it is aimed at.
`.trim();

const RECORDS = `
Some probes offer records: a line for each thing that they saw, beside metrics and events. \`records\` in the section of such a probe says which of them are sent, and a sink takes them where
its \`kinds\` name their kind ([sinks](sinks.md#kinds-of-records)). Nothing is sent that is not asked for.
`.trim();

const CHOICE = `
For example \`records: { failed: true, slow: 1s, sample: 1%, perPod: 10/s }\`. A record is sent where at least one of \`failed\`, \`slow\` and \`sample\` asks for it, and its Pod is within \`perPod\`. Only what is asked for uses up that rate. What is past it is \`limited\` in
[the ledger](sinks.md#the-ledger-what-arrived-and-what-became-of-the-rest).
`.trim();

/** Which probes have records, from their definitions. */
function offers(): string {
  const lines = PROBES.flatMap(({ name, records }) =>
    records === undefined ? [] : [`- \`${name}\`, kind \`${records.kind}\`: ${records.help}`],
  );
  return lines.length === 0 ? 'No probe offers records yet.' : lines.join('\n');
}

const NODES = `
A key of \`nodes\` is a label selector in the syntax of Kubernetes: \`a=b\`, \`a!=b\`, \`a in (b, c)\`, \`a notin (b)\`, \`a\`, \`!a\`, joined by commas; the empty one
means all nodes. There may be 1,000 of them. Behind it is what this document may have. Those that mean this node are merged into the rest in the order in which they are written: mappings key by
key, of all else the last wins. Each is validated on every node. Outside of Kubernetes labels are given by \`--node-label KEY=VALUE\`.
`.trim();

export function configurationPage(notice: string): string {
  const example = PROBES.find(canAim);
  if (example === undefined) throw new Error('no probe can be aimed');
  const common = Object.fromEntries(
    Object.entries({ ...commonKeys(example), ...FOR_EVENTS }).filter(([key]) => key !== 'pods'),
  );
  return [
    notice,
    '',
    '# Configuration',
    '',
    'One YAML document, of at most 256 KiB: a file, or a ConfigMap that is mounted as a folder. It is watched, and applied within a second, as a whole or not at',
    'all: of a faulty one nothing is applied, and the log and `/api/v1/config` show every fault with its place, its value and what is allowed.',
    '`netsonde check --config FILE` does the same beforehand. Without a document the defaults hold.',
    '',
    EXAMPLE,
    '',
    '## Top-level keys',
    '',
    keyTable(documentKeys(PROBES)),
    '',
    '`nodes` has overrides for some nodes, see below.',
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
    '`enabled` is by default what `netsonde probes` lists.',
    `\`events\` and \`limit\` are there for probes that have events. Probes that can be aimed have \`pods\` with ${AIM_KEYS.map((key) => `\`${key}\``).join(', ')}.`,
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
    '## Aimed at some Pods',
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
    'With their defaults.',
    '',
    ...PROBES.filter(({ options }) => Object.keys(options).length > 0).flatMap((probe) => [probeSection(probe), '']),
  ].join('\n');
}
