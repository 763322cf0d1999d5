import { EVENT } from '#api/events.ts';
import { SELF_METRICS } from '#collectors/self.ts';
import { AGENT_METRICS } from '#http/agent_metrics.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { EventDescriptor } from '#probe/event.ts';
import { isClosed, isJoint, type Label, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { sourceOf } from '#probe/mib_fields.ts';
import { PROBES } from '#probes/index.ts';
import { DESCRIBED_REASONS, describeReason } from '#probes/packetloss/drop_hints.ts';
import { CLASS_HELP, DISCARD_CLASSES, lossWords } from '#probes/packetloss/loss_rules.ts';
import { apiPage } from './api_page.ts';
import { configurationPage } from './configuration_page.ts';
import { COST_TABLES } from './cost_tables.ts';
import { fieldTable } from './field_table.ts';
import { MAP_TABLES } from './map_sizes.ts';
import { table } from './markdown.ts';
import { orderlyPage } from './orderly_page.ts';
import { probesPage } from './probes_page.ts';
import { RIGHTS_TABLES } from './rights_tables.ts';
import { sinksPage } from './sinks_page.ts';
import { SIZING_TABLES } from './sizing_tables.ts';
import { writeGenerated, writeSections } from './write_generated.ts';

/**
 * Writes docs/api.md, docs/metrics.md, docs/events.md, docs/probes.md, docs/sinks.md, docs/configuration.md and docs/drop-reasons.md from descriptors
 * and schemas, docs/orderly-traffic.md from the catalogue that the tests play, and the tables of bench/README.md, docs/scale.md and docs/capabilities.md from what was measured.
 */

const DOCS = new URL('../docs/', import.meta.url);
const BENCH = new URL('../bench/', import.meta.url);
const NOTICE = '<!-- Made by scripts/generate_docs.ts from the descriptors. Do not edit. -->';

function labelText([name, label]: [string, Label]): string {
  return `\`${name}\` (${valuesText(label)})`;
}

function valuesText(label: Label): string {
  if (isClosed(label)) return label.values.map((value) => `\`${value}\``).join(' ');
  const example = `such as \`${label.example}\``;
  if (!isJoint(label)) return `${example}, at most ${label.max}`;
  const { core, full } = label.joint.max;
  const own = label.max === undefined ? '' : `, at most ${label.max} for each combination of the others`;
  return `${example}${own}; one of the labels bounded together: at most ${core} combinations, ${full} at \`full\``;
}

function metricRow(metric: MetricDescriptor): string[] {
  const { name, type, detail, labels, help } = metric;
  return [`\`${name}\``, type, detail, Object.entries(labels).map(labelText).join('; '), help, sourceOf(metric)];
}

function metricTable(metrics: MetricSet): string {
  return table(['metric', 'type', 'detail', 'labels', 'what it says', 'source'], Object.values(metrics).map(metricRow));
}

function probeSection({ name, enabledByDefault, summary, metrics }: AnyProbe): string {
  return [
    `## ${name}`,
    '',
    `${summary} By default it is ${enabledByDefault ? 'on' : 'off'}. [What it costs, needs and does not see](probes.md#${name}).`,
    '',
    metricTable(metrics as MetricSet),
  ].join('\n');
}

function metricsPage(): string {
  return [
    NOTICE,
    '',
    '# Metrics',
    '',
    'Metrics of a Pod carry the labels `namespace` and `pod`; those of the node carry both, empty. `core` metrics are shown',
    'by default, `full` ones with `detail: full`, for all probes or for one. A value of an open label that finds no room any more is',
    'added up under `*`, as is a value that is `*` itself. Labels of Pods that are configured (`labels`) are on all metrics of Pods and nodes as well.',
    '',
    'A value may be older than the request. A scrape that comes while another one is collected gets the same collection: its values were read',
    'before the request by no more than a collection takes, milliseconds as a rule (`netsonde_scrape_seconds`) and eight seconds at most.',
    'While the kernel thread does not answer, the last page is served again, and `netsonde_page_age_seconds` is its age.',
    '',
    'A counter falls only where it begins anew, which `rate()` allows for: a device that is made anew, a restart of the agent or of its kernel',
    'thread, a 32-bit counter of the kernel that wraps. Sums over CPUs do not wrap: `netsonde_conntrack_*` go on, until the agent restarts.',
    '',
    ...PROBES.flatMap((probe) => [probeSection(probe), '']),
    '## The agent about itself',
    '',
    metricTable({ ...AGENT_METRICS, ...SELF_METRICS }),
    '',
    '`process_*` and `nodejs_*` are those of the Prometheus client library for Node.js.',
    '',
  ].join('\n');
}

function equalText({ equalBy }: EventDescriptor): string {
  const fields = equalBy.map((field) => `\`${field}\``).join(', ');
  return equalBy.length === 0 ? 'Equal are all of a namespace.' : `Equal are those with the same ${fields}.`;
}

function eventSection(probe: AnyProbe, [type, event]: [string, EventDescriptor]): string {
  const rows = Object.entries(event.fields).map(([name, field]) => [
    `\`${name}\``,
    field.type,
    field.optional === true ? 'where it is known' : 'always',
    field.help,
  ]);
  return [
    `## ${type}`,
    '',
    `${event.help} Severity: ${event.severity}${event.info === undefined ? '' : `; info ${event.info}`}. Probe: \`${probe.name}\`. ${equalText(event)}`,
    '',
    table(['field', 'type', 'there', 'what it says'], rows),
  ].join('\n');
}

function eventsPage(): string {
  const sections = PROBES.flatMap((probe) =>
    Object.entries(probe.events as Record<string, EventDescriptor>).flatMap((entry) => [
      eventSection(probe, entry),
      '',
    ]),
  );
  return [
    NOTICE,
    '',
    '# Events',
    '',
    'An event is a flat JSON object, the same on stdout and on [`/api/v1/events`](api.md#apiv1events). These fields are in events of all',
    'types, optional ones where they are known; those of the type follow. Times have nanoseconds.',
    '',
    fieldTable(EVENT),
    '',
    'Of events that are equal (same severity, network namespace, `src`, `dst`, `protocol` and what each type below names) the first is sent at',
    'once. Those that follow within five seconds (`events.fold`) become one, sent when that time is over: the last of them, with',
    '`count`. The counts of what is sent, one where there is none, add up to what the limits let through.',
    '',
    'The port of the client makes no difference (`events.foldBy: service`): the failed look-ups of a Pod are one event with `ports`. Which',
    'end is the client the event itself tells (a SYN comes from it), else the ports: one that the kernel gives to clients',
    '(`net.ipv4.ip_local_port_range` of the node) against one that it does not, or one from 1024 on against one below. Where both may be',
    "a client's, it is the one that changes. `events.foldBy: connection` tells the ports apart.",
    '',
    ...sections,
  ].join('\n');
}

writeGenerated(new URL('metrics.md', DOCS), metricsPage());
writeGenerated(new URL('events.md', DOCS), eventsPage());
writeGenerated(new URL('api.md', DOCS), `${NOTICE}\n\n${apiPage()}`);
writeGenerated(new URL('probes.md', DOCS), probesPage(NOTICE));
writeSections(new URL('README.md', BENCH), COST_TABLES);
writeSections(new URL('scale.md', DOCS), { ...SIZING_TABLES, ...MAP_TABLES });
writeSections(new URL('capabilities.md', DOCS), RIGHTS_TABLES);
writeGenerated(new URL('configuration.md', DOCS), configurationPage(NOTICE));
writeGenerated(new URL('sinks.md', DOCS), `${NOTICE}\n\n${sinksPage()}`);

function dropReasonsPage(): string {
  const rows = DESCRIBED_REASONS.map((name) => {
    const { what, hint } = describeReason(name);
    return [`\`${name}\``, what, hint, lossWords(name)];
  });
  return [
    NOTICE,
    '',
    '# Drop reasons',
    '',
    'Why the kernel dropped a packet, by the name that it has in the label `reason` of `netsonde_packet_drops_total` and in the event',
    '`packet_drop`. A kernel has only some of them; one that is not here is shown by its name all the same. `RX_DROP_*` come from wireless',
    'devices.',
    '',
    table(['reason', 'what happened', 'what to check', 'lost'], rows),
    '',
    '## What counts as lost',
    '',
    'A packet is lost where a rule or a program decided to drop it or a resource ran out (a firewall, a filter, a queue, a buffer, memory, a',
    'checksum, a route, a neighbour, the TTL, the MTU), whatever the packet; and where a packet for this host alone asked for something and was',
    'not served: a SYN, a datagram, an echo request. Every other packet that the kernel frees unused is a discard:',
    '`netsonde_packet_discards_total` counts it by class, and it causes no event. Both together are all packets for which `skb:kfree_skb` fires,',
    'except for messages of netlink and Unix sockets.',
    'The kernel side decides by the reason, the type of the packet, its flags and the state of the receiving socket.',
    '',
    table(
      ['class', 'what it holds'],
      DISCARD_CLASSES.map((name) => [`\`${name}\``, CLASS_HELP[name]]),
    ),
    '',
    'Kernels before 5.17 give no reasons, and kernels before 6.11 do not report the receiving socket. Packets that cannot be told from losses there are in',
    '`unclassified`, on 5.10 each SYN and each TCP segment with data that TCP itself drops, up to 6.10 each bare acknowledgement that TCP drops without a reason.',
    '',
  ].join('\n');
}

writeGenerated(new URL('drop-reasons.md', DOCS), dropReasonsPage());
writeGenerated(new URL('orderly-traffic.md', DOCS), `${NOTICE}\n\n${orderlyPage()}`);
