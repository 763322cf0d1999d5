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
 * Writes docs/api.md, docs/metrics.md, docs/events.md, docs/probes.md, docs/sinks.md, docs/configuration.md and
 * docs/drop-reasons.md from descriptors and schemas, and docs/orderly-traffic.md from the tests' catalogue of traffic.
 * Also writes the tables of measurements in bench/README.md, docs/scale.md and docs/capabilities.md, and the sections
 * of docs/runbook.md about the alerts of probes.
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
  if (!isJoint(label)) return `${example}, at most ${label.max} values`;
  const { core, full } = label.joint.max;
  const own = label.max === undefined ? '' : `, at most ${label.max} values for each combination of the other labels`;
  return `${example}${own}; shares a limit with other labels: at most ${core} combinations, ${full} with \`detail: full\``;
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
    `${summary} The probe is ${enabledByDefault ? 'on' : 'off'} by default. [Probes](probes.md#${name}) describes its cost, requirements and limitations.`,
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
    'The metrics of a Pod have the labels `namespace` and `pod`. The metrics of the node have the same labels with empty values. Metrics with the detail `core` are',
    'shown by default, and those with the detail `full` only with `detail: full`, which can be set for all probes or for one. If a label has more values than its maximum, the further values are',
    'added up under `*`, and so is a value that is itself `*`. All metrics of Pods and nodes also have the configured Pod labels (`labels`).',
    '',
    'A value may be slightly older than the request. A scrape that arrives during a collection gets the result of this collection, so its values were read',
    'before the request, by at most the duration of a collection. That is usually some milliseconds (`netsonde_scrape_seconds`), and at most eight seconds.',
    'If the kernel thread does not respond, the agent serves the last page again, and `netsonde_page_age_seconds` is the age of that page.',
    '',
    'A counter decreases only when it restarts, which `rate()` handles. This happens if a device is created again, if the agent or its kernel thread restarts, or if a 32-bit counter of the kernel',
    'wraps. Sums over CPUs do not wrap: `netsonde_conntrack_*` increase until the agent restarts.',
    '',
    ...PROBES.flatMap((probe) => [probeSection(probe), '']),
    "## The agent's own metrics",
    '',
    metricTable({ ...AGENT_METRICS, ...SELF_METRICS }),
    '',
    '`process_*` and `nodejs_*` have the names and meanings of the metrics in the Prometheus client library for Node.js.',
    '',
  ].join('\n');
}

function equalText({ equalBy }: EventDescriptor): string {
  const fields = equalBy.map((field) => `\`${field}\``).join(', ');
  return equalBy.length === 0
    ? 'Events with the same addresses are considered identical.'
    : `Events with the same ${fields} are considered identical.`;
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
    `${event.help} Its severity is ${event.severity}${event.info === undefined ? '' : `, or info ${event.info}`}. The probe is \`${probe.name}\`. ${equalText(event)}`,
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
    'An event is a flat JSON object, which is the same on stdout and on [`/api/v1/events`](api.md#apiv1events). The following table lists the fields that events of all types have;',
    'an optional field is present if its value is known. The other fields depend on the event type. Times have a resolution of nanoseconds.',
    '',
    fieldTable(EVENT),
    '',
    'Events are considered identical if they have the same severity, network namespace, `src`, `dst` and `protocol`, and the same values of the fields that are named for each type below. The',
    'first one is sent at once. The identical events within the next five seconds (`events.fold`) are folded into one event, which is sent after that time. It is the last of them, and has',
    'the field `count`. An event without `count` represents one event; the counts of all sent events add up to the number of events that the limits allowed.',
    '',
    "By default, the client's port is ignored (`events.foldBy: service`), so the failed DNS lookups of a Pod are folded into one event with `ports`. Some events",
    'show which end is the client, such as the one that sent a SYN. For other events, the ports decide: an ephemeral port',
    '(`net.ipv4.ip_local_port_range` of the node) belongs to the client if the other port is not ephemeral, and a port of 1024 or above belongs to the client if the other port is below 1024. If both ends may be',
    'the client, the client is the end whose port changes. With `events.foldBy: connection`, events with different ports are not folded.',
    '',
    '`connectionId` is a hash of the protocol, the addresses of client and server, and the port of the server. The agents of both nodes compute the same ID without asking each other, so it finds the events of both',
    'ends. The client is found as for folding; if the ports do not show it, the end with the lower port is considered the server. Addresses and port are those after translation, as the server sees them. Only events',
    'of dropped packets have them, where the packet is tracked: in the network namespace that translates, usually that of the node. The events of a socket have the addresses of the socket. The ID of a client that',
    'connects to a Service, or whose address is masqueraded, is therefore not that of the server in events such as `tcp_retransmit`. The IDs also differ if two namespaces have different ephemeral ports, or if a translation',
    'chooses a port below 32768 for the client.',
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
    'The table lists the reasons why the kernel drops packets, with their names in the label `reason` of `netsonde_packet_drops_total` and in the event',
    '`packet_drop`. Each kernel version has only some of these reasons. A reason that is not listed is still shown with its name. The reasons `RX_DROP_*` come from wireless',
    'devices.',
    '',
    table(['reason', 'what happened', 'what to check', 'counts as lost'], rows),
    '',
    '## What counts as lost',
    '',
    'A packet counts as lost if a rule or a program dropped it, if a resource was exhausted (such as a queue, a buffer or memory), or if the packet could not be processed because of its checksum, route, neighbour, TTL or size.',
    'A packet that is addressed only to this host also counts as lost if it is a request that was not',
    'served: a SYN, a datagram or an echo request. Every other packet that the kernel frees without delivering it is a discard.',
    '`netsonde_packet_discards_total` counts discards by class, and they cause no events. Drops and discards together are all packets for which the tracepoint `skb:kfree_skb` fires,',
    'except for messages of netlink and Unix sockets.',
    "The BPF program decides by the drop reason, the packet's type and flags, and the state of the receiving socket.",
    '',
    table(
      ['class', 'packets in the class'],
      DISCARD_CLASSES.map((name) => [`\`${name}\``, CLASS_HELP[name]]),
    ),
    '',
    'Kernels before 5.17 report no reasons, and kernels before 6.11 do not report the receiving socket. The class `unclassified` contains packets that cannot be distinguished from losses on these kernels.',
    'On 5.10, it contains each SYN and each TCP segment with data that TCP itself drops. Up to 6.10, it contains each pure acknowledgement that TCP drops without a reason.',
    'Before 6.3, it contains each ICMPv6 echo request, because the kernel frees one that it has answered like one that it has not.',
    'Kernels without the reason `TCP_OLD_SEQUENCE` report old segments as `TCP_INVALID_SEQUENCE`: those with data are `unclassified`, all others `control`. A SYN with the reason `TCP_RFC7323_PAWS` is `unclassified` up to 6.10.',
    '',
  ].join('\n');
}

writeGenerated(new URL('drop-reasons.md', DOCS), dropReasonsPage());
writeGenerated(new URL('orderly-traffic.md', DOCS), `${NOTICE}\n\n${orderlyPage()}`);
