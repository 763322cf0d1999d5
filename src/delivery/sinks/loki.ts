import type { EventRecord } from '#api/events.ts';
import type { SinkConfig } from '#config/sinks.ts';
import { timeNsOf } from '#events/envelope.ts';
import type { EventLine } from '#events/event_line.ts';
import type { Receipt, Sink } from '../sink.ts';
import { deliver } from './deliver.ts';
import { type Answer, HttpPoster } from './http.ts';

const PUSH_PATH = '/loki/api/v1/push';
const JOB = 'netsonde';

type Labels = Readonly<Record<string, string>>;
/** Nanoseconds since the epoch, the line, and structured metadata. */
type Entry = readonly [string, string] | readonly [string, string, Labels];

/** Pushes to Grafana Loki (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs). */
export class LokiSink implements Sink {
  readonly name = 'loki';
  readonly #config: SinkConfig<'loki'>;
  readonly #poster: HttpPoster;
  readonly #headers: Record<string, string>;

  constructor(config: SinkConfig<'loki'>) {
    this.#config = config;
    this.#poster = new HttpPoster(pushUrl(config.url), config);
    this.#headers = {
      'content-type': 'application/json',
      ...(config.tenant === undefined ? {} : { 'x-scope-orgid': config.tenant }),
    };
  }

  write(events: readonly EventLine[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    return deliver(events, receipt, (part) => this.#push(part, signal));
  }

  async close(): Promise<void> {
    this.#poster.close();
  }

  async #push(events: readonly EventLine[], signal: AbortSignal): Promise<Answer> {
    const { labels, structuredMetadata } = this.#config;
    return this.#poster.post(pushBody(events, labels, structuredMetadata), this.#headers, signal);
  }
}

/** The URL of a server, or the whole one of its push API behind a proxy. */
function pushUrl(text: string): URL {
  const url = new URL(text);
  if (!url.pathname.endsWith('/push')) url.pathname = url.pathname.replace(/\/$/, '') + PUSH_PATH;
  return url;
}

/** Few labels, since each combination is a stream; within a stream in the order of time. */
export function pushBody(events: readonly EventLine[], labels: Labels, withMetadata: boolean): string {
  const streams = new Map<string, { stream: Labels; events: EventLine[] }>();
  for (const event of events) {
    const { node, probe, type, namespace } = event.record;
    const key = `${node}\0${probe}\0${type}\0${namespace}`;
    const stream = streams.get(key);
    if (stream !== undefined) stream.events.push(event);
    else streams.set(key, { stream: { ...labels, ...streamLabels(event.record) }, events: [event] });
  }
  return JSON.stringify({
    streams: [...streams.values()].map(({ stream, events: lines }) => ({
      stream,
      values: lines.sort(byTime).map((line) => entryOf(line, withMetadata)),
    })),
  });
}

function byTime({ record: a }: EventLine, { record: b }: EventLine): number {
  return a.time < b.time ? -1 : Number(a.time > b.time);
}

function entryOf({ record, json }: EventLine, withMetadata: boolean): Entry {
  const time = timeNsOf(record);
  return withMetadata ? [time, json, metadata(record)] : [time, json];
}

function streamLabels({ node, probe, type, namespace }: EventRecord): Labels {
  return withoutEmpty({ job: JOB, node, probe, type, namespace });
}

function metadata({ pod, netns, severity, src, dst, protocol, peer }: EventRecord): Labels {
  return withoutEmpty({
    pod,
    netns,
    severity,
    src,
    dst,
    protocol,
    peer_kind: peer?.kind,
    peer_namespace: peer?.namespace,
    peer_name: peer?.name,
    peer_ip: peer?.ip,
  });
}

/** To Loki a label without a value is one that is not there. */
function withoutEmpty(labels: Readonly<Record<string, string | null | undefined>>): Labels {
  return Object.fromEntries(Object.entries(labels).filter((entry): entry is [string, string] => Boolean(entry[1])));
}
