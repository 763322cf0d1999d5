import { stringify } from 'yaml';
import * as z from 'zod';
import { LIMIT_KEYS } from '#config/limits.ts';
import { PRIVACY_RULE } from '#config/privacy.ts';
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
  return table(['key', 'default', 'meaning'], rows);
}

/** Renders an example section for a probe, with all options that are specific to it at their defaults. */
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
    ...(canFilterPods(probe) ? ['The probe accepts a Pod filter.'] : []),
  ];
  return [`### ${probe.name}`, '', [probe.summary, ...also].join(' '), '', exampleOf(probe)].join('\n');
}

const EXAMPLE = `
\`\`\`yaml
detail: core            # core: about 60 to 170 series per Pod; full: all metrics
bpfStats: false         # true: measure the run time of each BPF program, which adds about 60 ns to each run
probes:
  packetloss:           # on by default
    enabled: true
    metrics: true       # metrics and events can be disabled separately
    events: true
    detail: full        # overrides detail for this probe
    limit: 100          # events per second and namespace; further ones are only counted
    stack: true         # an option that only this probe has
    for: 15m            # afterwards, the agent ignores this section
    budget: 2%          # of one CPU; a probe that uses more is closed, and retried later
    pods:               # only these Pods, and not the node
      namespaces: [shop, data]
      selector: "app=web,tier!=back"
  softirq:              # off by default
    enabled: true
    until: 2026-12-24T03:00:00Z
  tcpreset:
    pods: { names: ["web-*"] }
  softnet: false        # short for { enabled: false }
nodes:                  # overrides for nodes that match a label selector; later ones take precedence
  "node-role.kubernetes.io/control-plane":
    probes: { conntrack: false }
  "pool in (edge, gateway),!spot":
    detail: full
    probes: { netiftxlatency: { enabled: true, for: 1h } }
sinks:
  stdout: {}            # prints events, one JSON object per line; with \`sinks: {}\`, the agent prints none
log:
  level: info           # the agent's own log, on stderr: error, warn, info or debug
\`\`\`
`.trim();

const LIMITS = `
The limit does not apply to the agent's metrics about itself. If a page would have more series, the agent halves the limits of labels until the page fits, equally for every Pod.
It starts with the limits that several labels share (edges), and continues with the limits of single open labels. The series beyond a limit are folded into \`*\`, so sums remain exact, and \`netsonde_page_series_folded_total\` counts the folded
series. The agent unfolds series when the limit is raised, or when the page has had space for twice as many of them for ten minutes. A folded counter of an open label remains under
\`*\` until the agent restarts. Series without an open label are never folded, even if their number exceeds the limit.
\`netsonde_page_series\` is the current number of series. With the default, nothing is folded on a node with 500 Pods and every metric ([series](scale.md#series)).
`.trim();

const TIMED = `
A section with \`for\` or \`until\` applies only until that time. Afterwards, the agent ignores the section, and uses the rest of the document or the defaults
for the probe. The document itself does not change. \`/api/v1/probes\` shows when the section expires, as \`until\`.

- \`for\` starts when the section is first applied, and is measured by a monotonic clock. \`until\` is a time of the wall clock. Edits elsewhere in the
  document have no effect on the time. If a section is changed, or removed and added again, its time starts again.
- A restart of the agent has no effect on the time either, because the agent stores when each section expires in \`timed.json\` in the directory of \`--state\` (default \`/var/lib/netsonde\`). The
  parent directory must exist; mount a writable directory if the root file system is read-only. An \`emptyDir\` survives a restart of the container, and a \`hostPath\` also survives the
  replacement of the Pod. If the agent cannot write the file, it reports that, and \`for\` starts again after a restart. If the file is damaged, the agent reports and ignores it.
- After a reboot, the agent computes the remaining part of \`for\` from the wall clock, limited to \`for\`.
- A new \`until\` in the past is an error, except in the first document that an agent reads. There, the section is treated as expired, so that the agent can start on a new node.
- At most 256 such sections may apply to a node.
`.trim();

const BUDGET = `
Every ten seconds, the agent adds up how much time a probe with a \`budget\` has used during these ten seconds. This is the run time of its BPF programs on all CPUs, plus the
time to collect its metrics. If the sum exceeds the budget, the agent closes the probe. The probe is then \`failed\`, with a reason that contains the measured share and the time of the next attempt. The first attempt follows after 30 seconds; each later
delay is twice as long, up to 30 minutes. The delay returns to 30 seconds when the section changes, or when the probe has kept to its budget for as long as the next delay would
be.

- Measuring run times (\`bpf_enable_stats\`) needs CAP_SYS_ADMIN, or the sysctl \`kernel.bpf_stats_enabled=1\` on the node. Without either, a BPF probe with a
  budget is \`degraded\`, and only the collection time counts. The agent enables the measurement only if a probe has a budget, or for \`bpfStats: true\`.
- The measurement adds about 60 ns to each run, and the measured time includes these, so a program that takes 100 ns is shown with 160 ns. The measurement affects all BPF programs on the node.
- The collection time is elapsed time, so a collection of 100 ms uses 1 % of the ten seconds in which it happens, however rare collections are.
`.trim();

const AIM = `
\`pods\` restricts an eBPF probe to some Pods. The probe's programs check the network namespace first, and ignore all other namespaces. The agent updates the filter when Pods start, end
or change their labels. A Pod must match each of \`namespaces\`, \`selector\` and \`names\` that you set; \`pods: {}\` matches all Pods, but not the node.

- Pods with \`hostNetwork\` share the node's network namespace, so they cannot be selected.
- A Pod can match only after the Kubernetes API has reported it.
- Without Kubernetes, Pods have no namespaces and labels, and \`names\` are compared with the label \`pod\` of the metrics.
- \`pods:\` without a value means \`pods: {}\`.
- \`biolatency\` tracks the block requests of all Pods, because the owner of a request is known only at its end. It counts only those of the selected Pods.
`.trim();

const RECORDS = `
Some probes offer records in addition to metrics and events, with one line for each observation. \`records\` in the section of such a probe selects the records to send. A sink accepts them if
its \`kinds\` contain the record kind ([sinks](sinks.md#kinds-of-records)). By default, only failed flows are sent.
`.trim();

const CHOICE = `
An example is \`records: { failed: true, slow: 1s, sample: 1%, perPod: 10/s }\`. A record is sent if at least one of \`failed\`, \`slow\` and \`sample\` selects it, and if its Pod has not exceeded the rate \`perPod\`. Only selected records count towards this rate. [The ledger](sinks.md#the-ledger)
counts records that exceed the rate as \`limited\`.
`.trim();

const PRIVACY_TEXT = `The section \`privacy\` says what events, records, exemplars and edges do not show of a namespace, by its name. \`"*"\` stands for all namespaces without a rule, and for the node.
An example is \`privacy: { payments: { paths: false, names: false }, "*": { traces: false } }\`. An event or record shows what the rules of its Pod and of the known peer both allow. If its Pod is not known, all rules apply. [Security](security.md#what-can-be-left-out) lists what each rule covers, and what it does not.`;

const IN_PLACE = `
If only the following settings of a running probe change, the probe applies them and goes on: no count is lost, and no program is loaded again. For every probe, these are \`metrics\`, \`detail\`, \`fields\`, \`budget\`, \`for\` and \`until\`. The top-level keys other than \`probes\` never interrupt
a probe either. If any other setting changes, the agent closes the probe and opens it again. Its counters continue, but a BPF probe counts nothing in between, and loading its programs takes up to five seconds of CPU time (\`http\`). Probes that read the kernel's own counters miss nothing.
The log names what was applied: \`http: applied limit, slow\`.
`.trim();

/** Returns the keys of all settings of a probe that can be changed while it is enabled. */
function settingsOf(probe: AnyProbe): string[] {
  const common = Object.keys(commonKeys(probe)).filter((key) => ['events', 'limit', 'records'].includes(key));
  return [...common, ...(canFilterPods(probe) ? ['pods'] : []), ...Object.keys(probe.options)];
}

/** Lists what each probe applies while it runs. */
function inPlaceTable(): string {
  const list = (keys: readonly string[]) => keys.map((key) => `\`${key}\``).join(', ');
  const rows = PROBES.flatMap((probe) => {
    const settings = settingsOf(probe);
    const inPlace = settings.filter((key) => probe.inPlace?.includes(key));
    const others = settings.filter((key) => !inPlace.includes(key));
    return settings.length === 0 ? [] : [[`\`${probe.name}\``, list(inPlace), list(others)]];
  });
  return table(['probe', 'applied while it runs', 'opens it again'], rows);
}

/** Lists the probes that produce records, based on their definitions. */
function offers(): string {
  const lines = PROBES.flatMap(({ name, records }) =>
    records === undefined ? [] : [`- \`${name}\`, kind \`${records.kind}\`: ${records.help}`],
  );
  return lines.length === 0 ? 'No probe offers records yet.' : lines.join('\n');
}

const NODES = `
Each key of \`nodes\` is a label selector in Kubernetes syntax: \`a=b\`, \`a!=b\`, \`a in (b, c)\`, \`a notin (b)\`, \`a\`, \`!a\`, or several of these with commas. The empty selector
matches all nodes. A document may have up to 1,000 selectors. The value of a selector may contain any key that the document itself may have, except \`nodes\`. The agent merges the values whose selectors match its node into the document, in the order of the document. Mappings are merged key by
key; for other values, the last one applies. Every node validates the values of all selectors. Outside of Kubernetes, set a node's labels with \`--node-label KEY=VALUE\`.
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
    'The configuration is a YAML document of at most 256 KiB, in a file or in a ConfigMap that is mounted as a directory. The agent watches the document, and applies a change within a second, either completely or not at',
    'all. An invalid document has no effect; the log and `/api/v1/config` show every error in it, with the key, its value and the allowed values.',
    '`netsonde check --config FILE` reports the same errors in advance. Without a document, the defaults apply.',
    '',
    EXAMPLE,
    '',
    '## Top-level keys',
    '',
    keyTable(documentKeys(PROBES)),
    '',
    '`nodes` contains [overrides for some nodes](#overrides-for-some-nodes).',
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
    '`netsonde probes` lists the default of `enabled` for each probe.',
    `Only probes with events have the keys \`events\` and \`limit\`. Only probes that accept a Pod filter have the key \`pods\`, with ${POD_FILTER_KEYS.map((key) => `\`${key}\``).join(', ')}.`,
    'Durations are written like `250us`, `10ms`, `2s`, `15m` or `1h`.',
    '',
    '## Changes of a running probe',
    '',
    IN_PLACE,
    '',
    inPlaceTable(),
    '',
    '`records` opens `http` again if it neither sent events nor records before.',
    '',
    '## Time limits',
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
    '## Privacy',
    '',
    PRIVACY_TEXT,
    '',
    optionTable(PRIVACY_RULE),
    '',
    '## Overrides for some nodes',
    '',
    NODES,
    '',
    '## Options of each probe',
    '',
    'Each example shows the default values.',
    '',
    ...PROBES.filter(({ options }) => Object.keys(options).length > 0).flatMap((probe) => [probeSection(probe), '']),
  ].join('\n');
}
