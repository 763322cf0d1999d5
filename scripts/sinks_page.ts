import { sections } from '#config/schema.ts';
import { LOG_LOKI } from '#config/sinks.ts';
import { KINDS } from '#core/record_kinds.ts';
import { optionTable } from './option_table.ts';

const KINDS_TEXT = `A **record** is one line that a sink takes. Its **kind** says what it tells of; there ${KINDS.length === 1 ? 'is one kind' : 'are'} so far: ${KINDS.map((kind) => `\`${kind}\``).join(', ')}.
A sink gets those that its \`kinds\` names, events by default: an upgrade never starts to send more.`;

const LEAD = `# Where events and other records go

\`sinks\` in the configuration says where records go: to standard output, to a file, to Loki, to an OpenTelemetry collector, or to several of them. Each sink has a queue of its own: one that is slow or
fails holds up no other, and no scrape. Everything here is reloaded while the agent runs; what waits for a sink that is changed goes out by the new settings.

\`\`\`yaml
events:
  limit: 200            # events a second of one Pod
  fold: 5s              # equal ones become one
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

1. The kernel's program makes an event of what passes the threshold of its probe, at most \`limit\` a second for each network namespace.
2. Equal events are **folded**: the first goes out at once, those that follow within \`events.fold\` become one with \`count\`, \`firstTime\` and \`lastTime\`. [Events](events.md) says for each type which fields make
   events equal; addresses always do, and the ports but for that of the client (\`events.foldBy\`).
3. Each Pod has a **limit** for all probes together, \`events.limit\`: a token bucket of two seconds' worth. A noisy Pod cannot take the sinks from the others.
4. A **queue** for each sink, bounded in records and in bytes. When it is full the oldest give way, since what is newest is what people look for.
5. The sink writes **batches**: when one is large enough, or its first record old enough.

\`src/agent/lane.ts\` lists the stages in order. Records of other kinds skip steps 2 and 3: [\`records\`](configuration.md#records) of their probe says which are sent, and how many of a Pod.`;

const LEDGER = `## The ledger: what arrived, and what became of the rest

For each kind, probe and sink, at any time and to the record:

\`\`\`
produced + recovered = limited + folded + dropped + delivered + pending
\`\`\`

| term | metric | what it counts |
| --- | --- | --- |
| produced | \`netsonde_records_produced_total{kind,probe}\` | what happened, past the threshold, before any limit |
| recovered | \`netsonde_records_recovered_total{kind,probe,sink}\` | found in the spool at the start: an earlier run produced it |
| limited | \`netsonde_records_limited_total{kind,probe,stage}\` | left out by the limit of a namespace (\`kernel\`) or of a Pod (\`agent\`) |
| folded | \`netsonde_records_folded_total{kind,probe}\` | went into an equal one |
| dropped | \`netsonde_records_dropped_total{kind,probe,sink,stage,reason}\` | lost. \`sink=""\`: before the sinks, the ring of the kernel was full |
| delivered | \`netsonde_records_delivered_total{kind,probe,sink}\` | taken by the sink: Loki has answered 204, a collector 2xx as the protocol has it, the line is written |
| pending | \`netsonde_records_pending{kind,probe,sink}\` | waits, in the queue or in the spool. \`sink=""\`: held to see whether equal ones come |

Events are counted under \`netsonde_events_*\` as well, with the same values and without \`kind\`. \`/api/v1/ledger\` has the same numbers.

A series with an empty \`sink\` counts for every sink that takes the kind. A sink has no series for a kind that it does not take, unless records of it still wait for it. Counters start at zero with the agent; those of the kernel also when its thread had to be replaced.

| reason | when |
| --- | --- |
| \`ring_full\` | more records in 25 ms, while they flow, than the ring between kernel and agent holds |
| \`queue_full\` | the sink was slower than the records for longer than its queue holds |
| \`spool_full\` | the same, with a spool: its oldest file was removed |
| \`rejected\` | the sink refused this record for good; \`/api/v1/sinks\` has its words |
| \`shutdown\` | the agent ended, or the sink was removed, and it did not take the rest within four seconds |
| \`not_configured\` | the record came while the sink was not in the configuration, or did not take its kind |
| \`spool_damaged\` | a file of the spool, or a line in it, could not be read, or is no record |
| \`unknown_kind\` | a line of the spool is of a kind, or of a version of it, that only another version of netsonde knows |
| \`left_in_spool\` | the sink or its spool was taken out of the configuration with records in it; they are found there when it is configured again |
| \`write_failed\` | an error in netsonde itself; the log has it |

When the agent ends, its log says for each sink and kind how many were delivered, dropped and kept.

## When a sink fails

It is \`failed\`, with the reason and what helps, on \`/api/v1/sinks\` and as \`netsonde_sink_state{sink,state="failed"} 1\`; the log tells each kind of failure once, whatever numbers are in it, until the sink was well for a minute.
It is tried again after half a second, then after twice as long each time up to 30 s, with jitter, or as late as the server asks by \`Retry-After\` (at most five minutes). That holds for a wrong address, a refused certificate, a tenant or a token that is missing, a full disk,
a path that cannot be written, and a server that is down, slow, or says 429 or 5xx. Files with certificates are read again, and names resolved again, with each new connection; tokens and passwords with each request.

| answer | what becomes of the records |
| --- | --- |
| 204 of Loki; 2xx of a collector with its JSON, or without a body | delivered |
| 400, 422 and other 4xx | what is refused is found by sending halves, dropped alone and counted as \`rejected\`; after a hundred in a batch, what is refused of a Pod that has ten of these is dropped as one part, and nothing of others |
| 413, or words that say the same | sent again in halves; requests stay smaller for ten minutes. One record alone that is too large is \`rejected\` |
| 429 | kept, and tried later with half as much at once; what is taken makes requests larger again |
| any other 2xx, such as a login page with 200 | kept, the sink is \`failed\`: it is not the server that answers |
| 3xx | kept, the sink is \`failed\` and names the place, which is not gone to: credentials are for the server that \`url\` names |
| 401, 403, 404, 405, 407, 408, 5xx, none | kept, the sink is \`failed\` |

A name with several addresses is tried at all of them, IPv6 and IPv4 in turns, a quarter of a second apart; the first connection that comes about is used, and each has the whole of \`timeout\`. \`proxy\` is the way through an HTTP proxy; \`HTTP_PROXY\`, \`HTTPS_PROXY\`
and \`NO_PROXY\` in the environment are not used, since they are often set for all Pods of a cluster and would send what stays inside to the outside. Of an answer at most 64 KiB are read; what is shown of it is one short line, without control characters and
without our tokens, passwords, headers and tenant.

Delivery is **at least once**: when an answer is lost on its way, the batch is sent again. Loki keeps one of two entries with the same time and text. On \`SIGTERM\` sinks get up to four seconds to take what is left.

## The spool

With \`spool\`, every record goes through files on the disk until it is delivered. A restart or a \`SIGKILL\` of the agent loses what came in its last moment, some milliseconds, and nothing else; what had been
delivered just before may be delivered once more. A crash of the machine can cost more: the agent does not wait for the disk. When the disk does not take the files, records wait in memory
as without a spool, and the sink shows why; so they do where the disk hangs. A folder belongs to one sink of one agent, which locks it while it runs (flock(2)): another one says so, keeps its records in memory, and takes the
folder once it is free. \`netsonde check\` refuses two sinks with one folder. Folder and files are for their owner alone (0700, 0600); links, pipes and folders among the files are left alone.

Files may be damaged in any way, also while the agent runs. A line that is no record, or whose bytes are no UTF-8, is dropped alone as \`spool_damaged\`; so are lines that a file has lost. A line that nobody counted before is counted as
recovered when it is found. A position that cannot be right is ignored: what was delivered may then come twice, and nothing is lost.

Each line is the kind, the version of its JSON, the probe and the JSON: \`event/1 packetloss {…}\`. Lines without these are events of netsonde before it had kinds; they are read as such. Versions before that cannot read the new lines, and count them as \`spool_damaged\`.`;

const LOKI = `Stream labels of events are \`job="netsonde"\`, \`node\`, \`probe\`, \`type\` and, for Pods, \`namespace\`, with those of \`labels\`. \`pod\`, \`netns\`, \`severity\`, \`src\`, \`dst\`, \`protocol\`, \`peer_kind\`, \`peer_namespace\`, \`peer_name\` and \`peer_ip\` are structured
metadata (Loki 3.0; \`structuredMetadata: false\` before); labels of these names are refused. Other kinds have stream labels and metadata of their own, beside \`job\`. The line is the record as JSON, its time the kernel's, in nanoseconds. All drops of a Pod:

\`\`\`logql
{job="netsonde", type="packet_drop", namespace="shop"} | pod="cart-0" | json
\`\`\`

An event with \`count\` is as old as the last one it stands for, so that Loki must take entries out of order, as it does by default since 2.4.

Each request has one stream, up to four are under way at once ([ADR 28](adr/0028-one-stream-a-request.md)): of several streams Loki answers for the last one only, and a refusal of another stays unsaid. A stream that is refused, for the limit of streams,
its rate, its labels or a policy that blocks it, holds up no other; when it was refused for a minute while others were taken, its records are \`rejected\`. What Loki takes for no stream, such as structured metadata that is not allowed, makes the sink \`failed\`
and waits. Where an administrator has set \`block_ingestion_status_code: 200\`, Loki says nothing at all and drops what it takes: no client can tell. The same holds for parts of a stream that Loki itself divides (\`shard_streams\`).`;

const OTLP = `The body of a log record is \`message\`, or the whole JSON where a kind has no message. Its attributes are the other fields, its severity that of the record, its resource has \`service.name\` and \`host.name\`. Where a collector takes a request but not all of its records, it
says how many, not which: that many of the batch count as \`rejected\`, and the reason shows with the sink. An answer that is neither empty nor JSON, such as a login page, is no delivery.`;

/** docs/sinks.md */
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
    "A JSON object a line on standard output; the agent's own log goes to standard error. This is the only sink where the configuration names none.",
    '',
    optionTable(stdout),
    '',
    '## file',
    '',
    'A JSON object a line. A file that somebody else has moved, as logrotate does, is opened anew before the next write; one that was emptied (`copytruncate`) is gone on with. When the disk is full no half line stays.',
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
    'The log goes to standard error, from `log.level` on. With `log.loki` it goes to Loki as well, with the labels `job="netsonde-agent"`, `node` and `level`. It goes as events go, with the same tries and states; 2,000 lines or 1 MiB may wait, and past that the oldest are dropped.',
    '',
    optionTable(LOG_LOKI),
    '',
  ].join('\n');
}
