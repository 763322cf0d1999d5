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
import { alertSections } from './alert_sections.ts';
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
 * and schemas, docs/orderly-traffic.md from the catalogue of the tests, the tables in bench/README.md, docs/scale.md and docs/capabilities.md from
 * measurements, and the sections of docs/runbook.md on the alerts of probes.
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
  return `${example}${own}; bounded together with other labels: at most ${core} combinations, ${full} at \`full\``;
}

function metricRow(metric: MetricDescriptor): string[] {
  const { name, type, detail, labels, help } = metric;
  return [`\`${name}\``, type, detail, Object.entries(labels).map(labelText).join('; '), help, sourceOf(metric)];
}

function metricTable(metrics: MetricSet): string {
  return table(['metric', 'type', 'detail', 'labels', 'meaning', 'source'], Object.values(metrics).map(metricRow));
}

function probeSection({ name, enabledByDefault, summary, metrics }: AnyProbe): string {
  return [
    `## ${name}`,
    '',
    `${summary} By default it is ${enabledByDefault ? 'on' : 'off'}. [Cost, needs and blind spots](probes.md#${name}).`,
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
    'by default, `full` ones with `detail: full`, for all probes or for one. Values of an open label beyond its maximum are',
    'added up under `*`, as is a value that is `*` itself. All metrics of Pods and nodes also have the configured labels of Pods (`labels`).',
    '',
    'A value may be older than the request. A scrape during another collection gets the same collection: its values were read',
    'before the request by no more than the time of a collection, usually milliseconds (`netsonde_scrape_seconds`) and at most eight seconds.',
    'While the kernel thread does not answer, the agent serves the last page again, and `netsonde_page_age_seconds` is its age.',
    '',
    'A counter falls only when it restarts, which `rate()` handles: a device that is created again, a restart of the agent or of its kernel',
    'thread, a 32-bit counter of the kernel that wraps. Sums over CPUs do not wrap: `netsonde_conntrack_*` continue until the agent restarts.',
    '',
    ...PROBES.flatMap((probe) => [probeSection(probe), '']),
    '## The agent about itself',
    '',
    metricTable({ ...AGENT_METRICS, ...SELF_METRICS }),
    '',
    '`process_*` and `nodejs_*` are the metrics of the Prometheus client library for Node.js.',
    '',
  ].join('\n');
}

function equalText({ equalBy }: EventDescriptor): string {
  const fields = equalBy.map((field) => `\`${field}\``).join(', ');
  return equalBy.length === 0 ? 'All events of a namespace are equal.' : `Events with the same ${fields} are equal.`;
}

function eventSection(probe: AnyProbe, [type, event]: [string, EventDescriptor]): string {
  const rows = Object.entries(event.fields).map(([name, field]) => [
    `\`${name}\``,
    field.type,
    field.optional === true ? 'if known' : 'always',
    field.help,
  ]);
  return [
    `## ${type}`,
    '',
    `${event.help} Severity: ${event.severity}${event.info === undefined ? '' : `; info ${event.info}`}. Probe: \`${probe.name}\`. ${equalText(event)}`,
    '',
    table(['field', 'type', 'present', 'meaning'], rows),
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
    'An event is a flat JSON object, the same on stdout and on [`/api/v1/events`](api.md#apiv1events). Events of all types have these',
    'fields, optional ones if they are known; the fields of the type follow. Times have nanoseconds.',
    '',
    fieldTable(EVENT),
    '',
    'Events are equal if they have the same severity, network namespace, `src`, `dst`, `protocol` and the fields that each type below names. The',
    'first of equal events is sent at once. The others within five seconds (`events.fold`) become one, sent after that time: the last of them, with',
    '`count`. The counts of sent events, one for an event without `count`, add up to the number that the limits let through.',
    '',
    'The port of the client is ignored (`events.foldBy: service`): the failed look-ups of a Pod are one event with `ports`. The event',
    'itself shows which end is the client (a SYN comes from it). Otherwise the ports decide: a port that the kernel gives to clients',
    '(`net.ipv4.ip_local_port_range` of the node) against another one, or a port from 1024 on against one below. If both ends may be',
    'the client, it is the one whose port changes. `events.foldBy: connection` distinguishes the ports.',
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
writeSections(new URL('runbook.md', DOCS), { 'alerts of probes': alertSections() });
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
    'The table lists the reasons for which the kernel drops packets, by their names in the label `reason` of `netsonde_packet_drops_total` and in the event',
    '`packet_drop`. A kernel has only some of them; a reason that is not listed is still shown by its name. `RX_DROP_*` come from wireless',
    'devices.',
    '',
    table(['reason', 'what happened', 'what to check', 'lost'], rows),
    '',
    '## What counts as lost',
    '',
    'A packet of any kind is lost if a rule or a program decided to drop it or a resource ran out (a firewall, a filter, a queue, a buffer, memory, a',
    'checksum, a route, a neighbour, the TTL, the MTU). A packet for this host alone is also lost if its request was not',
    'served: a SYN, a datagram, an echo request. Every other packet that the kernel frees unused is a discard:',
    '`netsonde_packet_discards_total` counts it by class, and it causes no event. Both together are all packets for which `skb:kfree_skb` fires,',
    'except for messages of netlink and Unix sockets.',
    'The kernel side decides by the reason, the type of the packet, its flags and the state of the receiving socket.',
    '',
    table(
      ['class', 'packets in it'],
      DISCARD_CLASSES.map((name) => [`\`${name}\``, CLASS_HELP[name]]),
    ),
    '',
    'Kernels before 5.17 give no reasons, and kernels before 6.11 do not report the receiving socket. Packets that these kernels cannot distinguish from losses are in',
    '`unclassified`, on 5.10 each SYN and each TCP segment with data that TCP itself drops, up to 6.10 each bare acknowledgement that TCP drops without a reason.',
    '',
  ].join('\n');
}

writeGenerated(new URL('drop-reasons.md', DOCS), dropReasonsPage());
writeGenerated(new URL('orderly-traffic.md', DOCS), `${NOTICE}\n\n${orderlyPage()}`);
