import { sections } from '#config/schema.ts';
import { LOG_LOKI } from '#config/sinks.ts';
import { FLOW_METADATA, INCIDENT_METADATA, KIND_SUBJECTS, KINDS, REQUEST_METADATA } from '#core/record_kinds.ts';
import { optionTable } from './option_table.ts';

const KINDS_TEXT = `A **record** is one line for a sink. The **kind** of a record determines its fields: ${KINDS.map((kind) => `\`${kind}\` is ${KIND_SUBJECTS[kind]}`).join(', ')}.
A sink accepts the kinds in its option \`kinds\`. The default is \`[event]\`, so that an upgrade that adds a kind does not send more data. Flows come from the probe \`flow\`, which by default sends only failed ones
([\`records\`](configuration.md#records)). They have the fields that [/api/v1/flows/stream](api.md#apiv1flowsstream) lists. Incidents come from the agent itself ([incidents](incidents.md)), and have the fields that [/api/v1/incidents/stream](api.md#apiv1incidentsstream) lists.
Requests come from the probe \`http\` if its [\`records\`](configuration.md#records) select any. They have the fields that [/api/v1/requests/stream](api.md#apiv1requestsstream) lists.`;

const LEAD = `# Where events and other records go

The section \`sinks\` of the configuration lists the destinations of records: standard output, a file, Loki, an OpenTelemetry collector, or several of these. Each sink has its own queue, so that a slow or
failed sink delays neither other sinks nor scrapes. All options on this page can be changed at run time. Records that wait for a changed sink are sent with the new settings.

\`\`\`yaml
events:
  limit: 200            # events per second and Pod
  fold: 5s              # identical events within this time are merged
sinks:
  stdout: {}
  loki:
    url: https://loki.example:3100
    tenant: team-a
    bearerTokenFile: /var/run/secrets/loki/token
    tls: { ca: /etc/netsonde/ca.crt }
    spool: { directory: /var/lib/netsonde/spool, size: 256MiB }
    kinds: [event, flow] # the default is [event]
\`\`\`

## Kinds of records

${KINDS_TEXT}

## From the kernel to a sink

1. A BPF program creates an event for each anomaly that exceeds the probe's threshold, but at most \`limit\` events per second for each network namespace.
2. Identical events are **folded**. The first one is sent at once. The others within \`events.fold\` are merged into one event with \`count\`, \`firstTime\` and \`lastTime\`. For each event type, [events](events.md) lists the fields that
   must be the same. Addresses must always be the same, and so must all ports except the client's (\`events.foldBy\`).
3. Each Pod has a **limit** for the events of all probes together (\`events.limit\`), which is a token bucket that holds the tokens of two seconds. One Pod with many events therefore cannot fill the queues of the sinks.
4. Each sink has a **queue** with a maximum number of records and bytes. If the queue is full, the oldest records are dropped, because operators usually need the newest ones.
5. The sink writes **batches**. A batch is written when it has reached its maximum size, or when its first record has waited long enough.

\`src/agent/lane.ts\` lists these stages in order. Records of other kinds skip steps 2 and 3. Incidents are created from the events that step 2 passes on. For these records, the section [\`records\`](configuration.md#records) of the probe selects the records to send, and limits their rate per Pod.`;

const LEDGER = `## The ledger

The ledger accounts for every record. For each kind, probe and sink, the following equation is exact at any time:

\`\`\`
produced + recovered = limited + folded + dropped + delivered + pending
\`\`\`

| term | metric | records that it counts |
| --- | --- | --- |
| produced | \`netsonde_records_produced_total{kind,probe}\` | all events that exceed the threshold, and all other records that \`records\` selects, before any limit is applied |
| recovered | \`netsonde_records_recovered_total{kind,probe,sink}\` | records of an earlier run that were found in the spool at startup |
| limited | \`netsonde_records_limited_total{kind,probe,stage}\` | records that exceeded the limit of a namespace (\`kernel\`) or of a Pod (\`agent\`) |
| folded | \`netsonde_records_folded_total{kind,probe}\` | records that were merged into an identical one |
| dropped | \`netsonde_records_dropped_total{kind,probe,sink,stage,reason}\` | lost records. With \`sink=""\`, they were lost before the sinks because the ring between kernel and agent was full |
| delivered | \`netsonde_records_delivered_total{kind,probe,sink}\` | records that the destination accepted: Loki responded with 204, a collector responded with 2xx and a valid body, or the line was written |
| pending | \`netsonde_records_pending{kind,probe,sink}\` | records that wait in the queue or the spool. With \`sink=""\`, they wait for identical events that may follow |

\`netsonde_events_*\` count events with the same values, but without the label \`kind\`. \`/api/v1/ledger\` returns the same numbers.

A series with an empty \`sink\` applies to every sink that accepts the kind. A sink has no series for a kind that it does not accept, unless records of this kind still wait for it. All counters start at zero when the agent starts. The counters of the kernel thread also start at zero when that thread is replaced.

| reason | cause |
| --- | --- |
| \`ring_full\` | more records arrived within 25 ms than the ring between kernel and agent can hold |
| \`queue_full\` | the sink was too slow or failed, and its queue was full |
| \`spool_full\` | the sink was too slow or failed, and its spool was full, so the oldest file was removed |
| \`rejected\` | the destination refused this record permanently; \`/api/v1/sinks\` shows its message |
| \`shutdown\` | the agent stopped or the sink was removed, and the destination did not accept the remaining records within four seconds |
| \`not_configured\` | the record arrived while the sink was not configured or did not accept its kind |
| \`spool_damaged\` | a spool file or a line in it is unreadable or invalid |
| \`unknown_kind\` | a line in the spool has a kind or version that this version of netsonde does not know |
| \`left_in_spool\` | the sink or its spool was removed from the configuration while records were in the spool; they are recovered when the spool is configured again |
| \`write_failed\` | netsonde itself failed; the log contains the error |

When the agent stops, it logs the numbers of delivered, dropped and kept records for each sink and kind.

## When a sink fails

The state of the sink becomes \`failed\`. \`/api/v1/sinks\` shows the reason with a remedy, and \`netsonde_sink_state{sink,state="failed"}\` is 1. The log reports a failure once, and again only after the sink has worked for a minute; messages that differ only in numbers count as the same failure.
The sink retries after half a second, and doubles the delay after each failure up to 30 s, with jitter. If the server sends \`Retry-After\`, the sink waits for that time, but at most five minutes. This applies to a wrong address, a refused certificate, a missing tenant or token, a full disk,
a path that cannot be written, and a server that is down or slow or responds with 429 or 5xx. For each new connection, the agent reads certificate files and resolves names again; for each request, it reads tokens and passwords again.

| response | effect on the records |
| --- | --- |
| 204 from Loki; 2xx from a collector with a valid JSON body or no body | The records are delivered. |
| 400, 422 and other 4xx | The sink finds the refused records by repeatedly sending halves of the batch, drops only these, and counts them as \`rejected\`. After a hundred refused records in a batch, it drops all records of each Pod that has ten refused ones, and no records of other Pods. |
| 413, or an error message that means the same | The batch is split in half and retried, and requests stay smaller for ten minutes. A single record that is too large is \`rejected\`. |
| 429 | The records are kept, and retried later in requests of half the size. The size grows again with each accepted request. |
| any other 2xx, such as a login page with 200 | The records are kept, and the sink is \`failed\`, because another server responded. |
| 3xx | The records are kept, and the sink is \`failed\` with a reason that names the redirect target. The sink does not follow redirects, because its credentials are only for the server in \`url\`. |
| 401, 403, 404, 405, 407, 408, 5xx, or no response | The records are kept, and the sink is \`failed\`. |

If a name has several addresses, the sink tries IPv6 and IPv4 addresses alternately, a quarter of a second apart, and uses the first connection that succeeds. Each attempt may take the full \`timeout\`. The option \`proxy\` sets an HTTP proxy. The sink ignores \`HTTP_PROXY\`, \`HTTPS_PROXY\`
and \`NO_PROXY\` in the environment, because these are often set for all Pods of a cluster and would send internal traffic through the proxy. The sink reads at most 64 KiB of a response, and shows one short line of it without control characters and
without netsonde's own tokens, passwords, headers and tenant.

Delivery is **at least once**: if a response is lost, the sink sends the batch again. Loki drops an entry with the same time and text as an earlier one. After \`SIGTERM\`, sinks have up to four seconds to send the remaining records.

## The spool

With \`spool\`, the sink keeps every record in files on disk until the record is delivered. A restart or a \`SIGKILL\` of the agent loses only the records of the last milliseconds; records that were
delivered just before may be delivered again. A crash of the machine can lose more records, because the agent does not wait until data is on the disk. If the disk is full, fails or hangs, records wait in memory
as without a spool, and the sink shows the reason. A spool directory belongs to one sink of one agent, which locks it while it runs (flock(2)). Any other sink with the same directory reports the lock, keeps its records in memory, and uses the
directory when it becomes free. \`netsonde check\` rejects two sinks with the same directory. Only the owner can access the directory and its files (0700, 0600). The agent ignores links, pipes and subdirectories in it.

The spool tolerates damaged files, even if they are damaged while the agent runs. Each line that is not a valid record or not UTF-8 is dropped as \`spool_damaged\`, and so is each line that is missing from a file. A line that the agent did not know
before is counted as recovered. If the stored read position is impossible, the agent ignores it and reads the file from the start: some delivered records are then sent twice, but none is lost.

Each line contains the kind, the version of the kind's JSON, the probe and the JSON: \`event/1 packetloss {…}\`. Lines without kind and version come from versions of netsonde without kinds, and are read as events. Those versions cannot read the new lines, and count them as \`spool_damaged\`.`;

const LOKI = `The stream labels of events are \`job="netsonde"\`, \`node\`, \`probe\`, \`type\`, the labels in \`labels\` and, for Pods, \`namespace\`. \`pod\`, \`netns\`, \`severity\`, \`src\`, \`dst\`, \`protocol\`, \`connectionId\`, \`peer_kind\`, \`peer_namespace\`, \`peer_name\`, \`peer_workload\`, \`peer_service\` and \`peer_ip\` are structured
metadata, which needs Loki 3.0 (set \`structuredMetadata: false\` for older versions); these names are not allowed in \`labels\`. The streams of flows have \`type="flow"\` and otherwise the same labels. Their structured metadata is ${FLOW_METADATA.map((name) => `\`${name}\``).join(', ')}; these names are not allowed in \`labels\` if \`kinds\` contains \`flow\`. The streams of incidents have \`type="incident"\`, no \`probe\`, and the structured metadata ${INCIDENT_METADATA.map((name) => `\`${name}\``).join(', ')}, with the same restriction. The streams of requests have \`type="request"\`, otherwise the same labels as those of events, and the structured metadata ${REQUEST_METADATA.map((name) => `\`${name}\``).join(', ')}, with the same restriction. The line is the record as JSON, and its timestamp is the kernel's, in nanoseconds. This query finds all drops of a Pod:

\`\`\`logql
{job="netsonde", type="packet_drop", namespace="shop"} | pod="cart-0" | json
\`\`\`

This query finds the events of both ends of a connection, on all nodes:

\`\`\`logql
{job="netsonde"} | connectionId="Yyod7p_W"
\`\`\`

This query counts failed connections to a database by cause:

\`\`\`logql
sum by (cause) (count_over_time({job="netsonde", type="flow"} | dst="10.0.0.7:5432" | cause!="" [5m]))
\`\`\`

An event with \`count\` has the time of the last event that it represents, so Loki must accept entries out of order, which is the default since Loki 2.4.

Each push request contains one stream, and up to four requests run at the same time ([ADR 28](adr/0028-one-stream-a-request.md)). The reason is that Loki's response to a request with several streams covers only the last one, and hides whether another was refused. If Loki refuses a stream because of the stream limit,
its rate, its labels or a policy, other streams are not delayed. If it refuses a stream for a minute while it accepts others, the records of this stream are \`rejected\`. If Loki refuses every stream, for example because structured metadata is not allowed, the sink is \`failed\`
and its records wait. If an administrator has set \`block_ingestion_status_code: 200\`, Loki silently drops data that it reports as accepted, which no client can detect. The same applies to parts of a stream that Loki itself splits (\`shard_streams\`).`;

const OTLP = `The body of a log record is \`message\`, or the whole JSON if the record kind has no message. The other fields become attributes, the severity is that of the record, and the resource has \`service.name\` and \`host.name\`. If a collector accepts a request but not all of its records, it
reports the number of rejected records, but not which ones. The sink counts this number as \`rejected\`, and shows the reason. If the response body is neither empty nor JSON, such as a login page, the records count as not delivered.`;

/** Renders docs/sinks.md, without the notice that the file is generated. */
export function sinksPage(): string {
  const { events, sinks } = sections(KINDS);
  const { stdout, file, loki, otlp } = sinks.def.innerType.shape;
  return [
    LEAD,
    '',
    optionTable(events),
    '',
    LEDGER,
    '',
    '## stdout',
    '',
    "The sink writes one JSON object per line to standard output. The agent's own log goes to standard error. If the configuration has no section `sinks`, this is the only sink.",
    '',
    optionTable(stdout),
    '',
    '## file',
    '',
    'The sink writes one JSON object per line. If another program, such as logrotate, moves the file, the sink creates a new file at the path before the next write. If the file is truncated (`copytruncate`), the sink continues to write to it. If the disk becomes full, the sink removes the incomplete line.',
    '',
    optionTable(file),
    '',
    '## loki',
    '',
    LOKI,
    '',
    optionTable(loki),
    '',
    '## otlp',
    '',
    OTLP,
    '',
    optionTable(otlp),
    '',
    "## The agent's own log",
    '',
    'The log goes to standard error; `log.level` sets the lowest level to write. With `log.loki`, it also goes to Loki, with the labels `job="netsonde-agent"`, `node` and `level`, and with the same retries and states as events. At most 2,000 lines or 1 MiB wait; if more lines arrive, the oldest are dropped.',
    '',
    optionTable(LOG_LOKI),
    '',
  ].join('\n');
}
