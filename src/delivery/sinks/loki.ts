import type { HttpConfig, SinkConfig } from '#config/sinks.ts';
import type { Files } from '#files/files.ts';
import type { Labels, LaneRecord } from '../record.ts';
import type { Receipt, Sink } from '../sink.ts';
import { Delivery, type Stream } from './deliver.ts';
import type { Network } from './dial.ts';
import { HttpPoster, TENANT } from './http.ts';
import { judgeLoki } from './loki_verdict.ts';

const PUSH_PATH = '/loki/api/v1/push';
const JOB = 'netsonde';
/** Maximum number of concurrent requests. Sending the streams one after another would take too long. */
const REQUESTS_MAX = 4;

/** Nanoseconds since the epoch, the line, and structured metadata. */
type Entry = readonly [string, string] | readonly [string, string, Labels];

type LokiConfig = HttpConfig & Pick<SinkConfig<'loki'>, 'tenant' | 'labels' | 'structuredMetadata' | 'compress'>;

export interface LokiOptions {
  /** Value of the label `job`. */
  readonly job?: string;
  readonly network?: Network;
  /** Returns milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

/**
 * Pushes to Grafana Loki (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs). Each request
 * contains a single stream, because the response to a request with several streams reports only the result of the last
 * one.
 */
export class LokiSink implements Sink {
  readonly name = 'loki';
  readonly #config: LokiConfig;
  readonly #labels: Labels;
  readonly #url: URL;
  readonly #poster: HttpPoster;
  readonly #delivery: Delivery;
  readonly #headers: Record<string, string>;

  constructor(config: LokiConfig, files: Files, { job = JOB, network, now }: LokiOptions = {}) {
    this.#config = config;
    this.#labels = { ...config.labels, job };
    this.#url = pushUrl(config.url);
    this.#poster = new HttpPoster(this.#url, config, files, REQUESTS_MAX, network);
    this.#delivery = new Delivery({
      requestsMax: REQUESTS_MAX,
      send: (records, signal) => this.#push(records, signal),
      ...(now === undefined ? {} : { now }),
    });
    this.#headers = {
      'content-type': 'application/json',
      ...(config.tenant === undefined ? {} : { [TENANT]: config.tenant }),
    };
  }

  write(records: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    return this.#delivery.deliver(streamsOf(records), receipt, signal);
  }

  async close(): Promise<void> {
    this.#poster.close();
  }

  async #push(records: readonly LaneRecord[], signal: AbortSignal) {
    const body = pushBody(records, this.#labels, this.#config.structuredMetadata);
    return judgeLoki(await this.#poster.post(body, this.#headers, signal), this.#url);
  }
}

/** Accepts the URL of a server, or the full URL of a push API behind a proxy. */
function pushUrl(text: string): URL {
  const url = new URL(text);
  if (!url.pathname.endsWith('/push')) url.pathname = url.pathname.replace(/\/$/, '') + PUSH_PATH;
  return url;
}

/** Groups records by their labels. Each group is sorted by time. */
export function streamsOf(records: readonly LaneRecord[]): Stream[] {
  const streams = new Map<string, LaneRecord[]>();
  for (const record of records) {
    const key = keyOf(record.stream);
    const stream = streams.get(key);
    if (stream !== undefined) stream.push(record);
    else streams.set(key, [record]);
  }
  return [...streams].map(([key, inStream]) => ({ key, records: inStream.sort(byTime) }));
}

/** @param records records of one stream */
export function pushBody(records: readonly LaneRecord[], labels: Labels, withMetadata: boolean): string {
  const stream = { ...labels, ...records[0]?.stream };
  return JSON.stringify({ streams: [{ stream, values: records.map((record) => entryOf(record, withMetadata)) }] });
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
