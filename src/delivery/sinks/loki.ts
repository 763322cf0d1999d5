import type { SinkConfig } from '#config/sinks.ts';
import type { Labels, LaneRecord } from '../record.ts';
import type { Receipt, Sink } from '../sink.ts';
import { deliver } from './deliver.ts';
import { type Answer, HttpPoster } from './http.ts';

const PUSH_PATH = '/loki/api/v1/push';
const JOB = 'netsonde';

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

  write(records: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    return deliver(records, receipt, (part) => this.#push(part, signal));
  }

  async close(): Promise<void> {
    this.#poster.close();
  }

  async #push(records: readonly LaneRecord[], signal: AbortSignal): Promise<Answer> {
    const { labels, structuredMetadata } = this.#config;
    return this.#poster.post(pushBody(records, labels, structuredMetadata), this.#headers, signal);
  }
}

/** The URL of a server, or the whole one of its push API behind a proxy. */
function pushUrl(text: string): URL {
  const url = new URL(text);
  if (!url.pathname.endsWith('/push')) url.pathname = url.pathname.replace(/\/$/, '') + PUSH_PATH;
  return url;
}

/** A stream for each combination of labels, within it in the order of time. */
export function pushBody(records: readonly LaneRecord[], labels: Labels, withMetadata: boolean): string {
  const streams = new Map<string, { stream: Labels; records: LaneRecord[] }>();
  for (const record of records) {
    const key = keyOf(record.stream);
    const stream = streams.get(key);
    if (stream !== undefined) stream.records.push(record);
    else streams.set(key, { stream: { ...labels, job: JOB, ...record.stream }, records: [record] });
  }
  return JSON.stringify({
    streams: [...streams.values()].map(({ stream, records: entries }) => ({
      stream,
      values: entries.sort(byTime).map((record) => entryOf(record, withMetadata)),
    })),
  });
}

function keyOf(stream: Labels): string {
  let key = '';
  for (const name in stream) key += `${name}\0${stream[name]}\0`;
  return key;
}

function byTime({ timeNs: a }: LaneRecord, { timeNs: b }: LaneRecord): number {
  return a.length - b.length || (a < b ? -1 : Number(a > b));
}

function entryOf({ timeNs, json, metadata }: LaneRecord, withMetadata: boolean): Entry {
  return withMetadata ? [timeNs, json, metadata] : [timeNs, json];
}
