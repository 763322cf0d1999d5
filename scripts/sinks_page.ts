import { sections } from '#config/schema.ts';
import { LOG_LOKI } from '#config/sinks.ts';
import { KINDS } from '#core/record_kinds.ts';
import { optionTable } from './option_table.ts';

const KINDS_TEXT = `A **record** is one line for a sink. Its **kind** says what it describes; there ${KINDS.length === 1 ? 'is one kind' : 'are'} so far: ${KINDS.map((kind) => `\`${kind}\``).join(', ')}.
A sink gets the kinds that its \`kinds\` names, by default events, so an upgrade never starts to send more.`;

const LEAD = `# Where events and other records go

\`sinks\` in the configuration sets the destinations of records: standard output, a file, Loki, an OpenTelemetry collector, or several of them. Each sink has its own queue: a slow or
failed sink delays no other, and no scrape. All of these options can be reloaded at run time; records that wait for a changed sink are sent with the new settings.

\`\`\`yaml
events:
  limit: 200            # events a second of one Pod
  fold: 5s              # equal events within this time become one
sinks:
  stdout: {}
  loki:
    url: https://loki.example:3100
    tenant: team-a
    bearerTokenFile: /var/run/secrets/loki/token
    tls: { ca: /etc/netsonde/ca.crt }
    spool: { directory: /var/lib/netsonde/spool, size: 256MiB }
    kinds: [event]      # the default
\`\`\`

## Kinds of records

${KINDS_TEXT}

## From the kernel to a sink

1. The kernel's program makes an event for each anomaly beyond the threshold of its probe, at most \`limit\` a second for each network namespace.
2. Equal events are **folded**: the first is sent at once, and the others within \`events.fold\` become one with \`count\`, \`firstTime\` and \`lastTime\`. [Events](events.md) lists for each type the fields that make
   events equal; addresses always count, and all ports except the client's (\`events.foldBy\`).
3. Each Pod has a **limit** for all probes together, \`events.limit\`: a token bucket for two seconds. A noisy Pod cannot block the sinks for others.
4. Each sink has a **queue**, bounded in records and in bytes. When it is full it drops the oldest records, since people look for the newest.
5. The sink writes **batches**: when a batch is large enough, or its first record old enough.

\`src/agent/lane.ts\` lists the stages in order. Records of other kinds skip steps 2 and 3: [\`records\`](configuration.md#records) of their probe selects the records to send, and limits their number for a Pod.`;

const LEDGER = `## The ledger: what arrived, and what became of the rest

For each kind, probe and sink this equation holds exactly, at any time:

\`\`\`
produced + recovered = limited + folded + dropped + delivered + pending
\`\`\`

| term | metric | records that it counts |
| --- | --- | --- |
| produced | \`netsonde_records_produced_total{kind,probe}\` | all records beyond the threshold, before any limit |
| recovered | \`netsonde_records_recovered_total{kind,probe,sink}\` | records of an earlier run, found in the spool at the start |
| limited | \`netsonde_records_limited_total{kind,probe,stage}\` | records left out by the limit of a namespace (\`kernel\`) or of a Pod (\`agent\`) |
| folded | \`netsonde_records_folded_total{kind,probe}\` | records that were merged into an equal one |
| dropped | \`netsonde_records_dropped_total{kind,probe,sink,stage,reason}\` | lost records. \`sink=""\`: before the sinks, because the ring of the kernel was full |
| delivered | \`netsonde_records_delivered_total{kind,probe,sink}\` | records that the sink accepted: Loki answered 204, a collector 2xx in its protocol, or the line is written |
| pending | \`netsonde_records_pending{kind,probe,sink}\` | records that wait in the queue or in the spool. \`sink=""\`: held until it is clear whether equal ones follow |

\`netsonde_events_*\` count events as well, with the same values and without \`kind\`. \`/api/v1/ledger\` has the same numbers.

A series with an empty \`sink\` counts for every sink that takes the kind. A sink has no series for a kind that it does not take, unless records of the kind still wait for it. Counters start at zero with the agent; those of the kernel also after a replacement of its thread.

| reason | when |
| --- | --- |
| \`ring_full\` | more records in 25 ms, while they flow, than the ring between kernel and agent holds |
| \`queue_full\` | the sink was slower than the records for longer than its queue holds |
| \`spool_full\` | the same, with a spool: its oldest file was removed |
| \`rejected\` | the sink refused this record permanently; \`/api/v1/sinks\` has its message |
| \`shutdown\` | the agent ended, or the sink was removed, and it did not accept the rest within four seconds |
| \`not_configured\` | the record arrived while the sink was not in the configuration, or did not take its kind |
| \`spool_damaged\` | a file of the spool, or a line in it, could not be read, or is no record |
| \`unknown_kind\` | a line of the spool has a kind, or a version of it, that only another version of netsonde knows |
| \`left_in_spool\` | the sink or its spool was removed from the configuration with records in it; they are recovered when it is configured again |
| \`write_failed\` | an error in netsonde itself; the log has it |

When the agent ends, its log gives for each sink and kind the numbers of delivered, dropped and kept records.

## When a sink fails

The sink is \`failed\`, with the reason and a remedy, on \`/api/v1/sinks\` and as \`netsonde_sink_state{sink,state="failed"} 1\`; the log reports each kind of failure once, regardless of the numbers in it, until the sink has worked for a minute.
The sink retries after half a second, then after twice as long each time up to 30 s, with jitter, or as late as the server requests by \`Retry-After\` (at most five minutes). That holds for a wrong address, a refused certificate, a missing tenant or token, a full disk,
a path that cannot be written, and a server that is down, slow, or answers 429 or 5xx. The agent reads files with certificates and resolves names again for each new connection, and reads tokens and passwords for each request.

| answer | result for the records |
| --- | --- |
| 204 of Loki; 2xx of a collector with its JSON, or without a body | delivered |
| 400, 422 and other 4xx | the sink finds the refused records by sending halves, drops only these and counts them as \`rejected\`; after a hundred in a batch, refused records of a Pod that has ten of them are dropped together, and none of others |
| 413, or a message that says the same | sent again in halves; requests stay smaller for ten minutes. A single record that is too large is \`rejected\` |
| 429 | kept, and retried later with half as much at once; accepted requests make the next ones larger again |
| any other 2xx, such as a login page with 200 | kept, and the sink is \`failed\`: another server answers |
| 3xx | kept, and the sink is \`failed\` and names the target, which it does not follow: credentials are for the server that \`url\` names |
| 401, 403, 404, 405, 407, 408, 5xx, none | kept, and the sink is \`failed\` |

If a name has several addresses, the sink tries all of them, IPv6 and IPv4 in turns, a quarter of a second apart; it uses the first connection that succeeds, and each has the whole of \`timeout\`. \`proxy\` sets an HTTP proxy; the sink ignores \`HTTP_PROXY\`, \`HTTPS_PROXY\`
and \`NO_PROXY\` in the environment, since they are often set for all Pods of a cluster and would send internal traffic outside. The sink reads at most 64 KiB of an answer, and shows one short line of it, without control characters and
without our tokens, passwords, headers and tenant.

Delivery is **at least once**: if an answer is lost, the batch is sent again. Loki keeps one of two entries with the same time and text. On \`SIGTERM\` sinks get up to four seconds to send the rest.

## The spool

With \`spool\`, every record goes through files on the disk until it is delivered. A restart or a \`SIGKILL\` of the agent loses only the records of its last milliseconds; records that had been
delivered just before may be delivered again. A crash of the machine can lose more, because the agent does not wait for the disk. If the disk does not accept the files, or hangs, records wait in memory
as without a spool, and the sink shows the reason. A folder belongs to one sink of one agent, which locks it while it runs (flock(2)): another sink reports the lock, keeps its records in memory, and takes the
folder once it is free. \`netsonde check\` refuses two sinks with one folder. Only the owner can access folder and files (0700, 0600); the agent ignores links, pipes and folders among the files.

Files may be damaged in any way, even while the agent runs. A line that is no record, or whose bytes are no UTF-8, is dropped alone as \`spool_damaged\`; so are lines that a file has lost. A line that was never counted is counted as
recovered when it is found. An impossible position is ignored: delivered records may then be sent twice, and none is lost.

Each line has the kind, the version of its JSON, the probe and the JSON: \`event/1 packetloss {…}\`. Lines without these are events of netsonde before it had kinds, and are read as such. Earlier versions cannot read the new lines, and count them as \`spool_damaged\`.`;

const LOKI = `Stream labels of events are \`job="netsonde"\`, \`node\`, \`probe\`, \`type\` and, for Pods, \`namespace\`, with those of \`labels\`. \`pod\`, \`netns\`, \`severity\`, \`src\`, \`dst\`, \`protocol\`, \`peer_kind\`, \`peer_namespace\`, \`peer_name\` and \`peer_ip\` are structured
metadata (Loki 3.0; \`structuredMetadata: false\` before); labels of these names are refused. Other kinds have their own stream labels and metadata, beside \`job\`. The line is the record as JSON, its time the kernel's, in nanoseconds. This query finds all drops of a Pod:

\`\`\`logql
{job="netsonde", type="packet_drop", namespace="shop"} | pod="cart-0" | json
\`\`\`

An event with \`count\` is as old as the last one it stands for, so Loki must accept entries out of order, as it does by default since 2.4.

Each request has one stream, and up to four requests run at once ([ADR 28](adr/0028-one-stream-a-request.md)): if a request has several streams, Loki answers only for the last one, and hides the refusal of another. A stream that is refused because of the limit of streams,
its rate, its labels or a policy that blocks it, delays no other; if it was refused for a minute while others were accepted, its records are \`rejected\`. If Loki refuses every stream, for example because structured metadata is not allowed, the sink is \`failed\`
and its records wait. If an administrator has set \`block_ingestion_status_code: 200\`, Loki silently drops what it accepts, and no client can notice. The same holds for parts of a stream that Loki itself divides (\`shard_streams\`).`;

const OTLP = `The body of a log record is \`message\`, or the whole JSON if a kind has no message. Its attributes are the other fields, its severity that of the record, and its resource has \`service.name\` and \`host.name\`. If a collector accepts a request but not all of its records, it
reports their number, but not which: that many of the batch count as \`rejected\`, and the sink shows the reason. An answer that is neither empty nor JSON, such as a login page, is no delivery.`;

/** Renders docs/sinks.md, without the notice. */
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
    "The sink writes one JSON object a line to standard output; the agent's own log goes to standard error. If the configuration names no sinks, this is the only one.",
    '',
    optionTable(stdout),
    '',
    '## file',
    '',
    'The sink writes one JSON object a line. If another program has moved the file, as logrotate does, the sink opens it again before the next write; if the file was emptied (`copytruncate`), the sink continues with it. When the disk is full, no half line stays.',
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
    'The log goes to standard error, from `log.level` on. With `log.loki` it also goes to Loki, with the labels `job="netsonde-agent"`, `node` and `level`, and with the same retries and states as events; at most 2,000 lines or 1 MiB wait, and beyond that the oldest are dropped.',
    '',
    optionTable(LOG_LOKI),
    '',
  ].join('\n');
}
