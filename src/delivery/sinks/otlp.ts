import { JsonLogsSerializer } from '@opentelemetry/otlp-transformer';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { Severity } from '#api/words.ts';
import type { SinkConfig } from '#config/sinks.ts';
import type { Files } from '#files/files.ts';
import type { LaneRecord } from '../record.ts';
import type { Receipt, Sink } from '../sink.ts';
import { Delivery } from './deliver.ts';
import { type Answer, HttpPoster } from './http.ts';
import { inert } from './inert.ts';
import { judgeFailure, judgeStranger, type Verdict } from './verdict.ts';

// sink_set.ts imports this module only if the sink is configured, because its dependencies are large.

type LogRecord = Parameters<typeof JsonLogsSerializer.serializeRequest>[0][number];
type Attributes = LogRecord['attributes'];

/** Fields of a record that map to fields of an OpenTelemetry log record. All other fields become attributes. */
interface Fields {
  readonly message?: string;
  readonly time?: unknown;
  readonly severity?: unknown;
  readonly node?: string;
  readonly [name: string]: unknown;
}

const LOGS_PATH = '/v1/logs';
const SCOPE = { name: 'netsonde' };
/** Severity numbers INFO, WARN and ERROR of OpenTelemetry's log data model. */
const SEVERITY_NUMBERS: Readonly<Record<Severity, number>> = { info: 9, warning: 13, critical: 17 };
const NANOSECOND_DIGITS = 9;

/** Sends logs with OTLP over HTTP, in JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp). */
export class OtlpSink implements Sink {
  readonly name = 'otlp';
  readonly #url: URL;
  readonly #poster: HttpPoster;
  readonly #delivery: Delivery;
  readonly #resources = new Map<string, Resource>();

  constructor(config: SinkConfig<'otlp'>, files: Files) {
    this.#url = logsUrl(config.url);
    this.#poster = new HttpPoster(this.#url, config, files);
    this.#delivery = new Delivery({ requestsMax: 1, send: (records, signal) => this.#export(records, signal) });
  }

  write(records: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    return this.#delivery.deliver([{ key: '', records }], receipt, signal);
  }

  async close(): Promise<void> {
    this.#poster.close();
  }

  async #export(records: readonly LaneRecord[], signal: AbortSignal): Promise<Verdict> {
    const body = JsonLogsSerializer.serializeRequest(records.map((record) => this.#toLog(record)));
    return judge(await this.#poster.post(body ?? '', { 'content-type': 'application/json' }, signal), this.#url);
  }

  #toLog({ kind, timeNs, severity, json }: LaneRecord): LogRecord {
    const hrTime = [Number(timeNs.slice(0, -NANOSECOND_DIGITS)), Number(timeNs.slice(-NANOSECOND_DIGITS))] as [
      number,
      number,
    ];
    const { message, time: _time, severity: _severity, node, ...attributes } = JSON.parse(json) as Fields;
    return {
      hrTime,
      hrTimeObserved: hrTime,
      eventName: typeof attributes['type'] === 'string' ? attributes['type'] : kind,
      severityText: severity,
      severityNumber: SEVERITY_NUMBERS[severity],
      body: message ?? json,
      attributes: withoutNull(attributes),
      droppedAttributesCount: 0,
      resource: this.#resourceOf(node),
      instrumentationScope: SCOPE,
    };
  }

  #resourceOf(node = ''): Resource {
    let resource = this.#resources.get(node);
    if (resource === undefined) {
      resource = resourceFromAttributes({ 'service.name': SCOPE.name, 'host.name': node });
      this.#resources.set(node, resource);
    }
    return resource;
  }
}

/** Accepts the URL of a collector, or the full URL of its logs API. */
function logsUrl(text: string): URL {
  const url = new URL(text);
  if (!url.pathname.endsWith('/logs')) url.pathname = url.pathname.replace(/\/$/, '') + LOGS_PATH;
  return url;
}

function withoutNull(fields: Readonly<Record<string, unknown>>): Attributes {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as Attributes;
}

/**
 * The part of ExportLogsServiceResponse that the sink uses (opentelemetry/proto/collector/logs/v1/logs_service.proto).
 */
interface Response {
  readonly partialSuccess?: { readonly rejectedLogRecords?: number | string; readonly errorMessage?: unknown } | null;
}

/**
 * Interprets a response. The protocol requires a JSON body
 * (https://opentelemetry.io/docs/specs/otlp/#otlphttp-response), but some servers, such as Loki, send none.
 */
function judge(answer: Answer, url: URL): Verdict {
  const { status, text, contentType, isCut } = answer;
  if (status < 200 || status >= 300) return judgeFailure(answer, url);
  if (text === '' || contentType === 'application/x-protobuf') return { is: 'taken' };
  const response = isCut ? undefined : parse(text);
  if (response === undefined) return judgeStranger(answer, 'that is not a response of a collector');
  return { is: 'taken', refused: refusedIn(response) };
}

function parse(text: string): Response | undefined {
  try {
    const response: unknown = JSON.parse(text);
    return typeof response === 'object' && response !== null ? response : undefined;
  } catch {
    return undefined;
  }
}

/** Returns how many records a collector has rejected. The response does not say which ones. */
function refusedIn({ partialSuccess }: Response): { readonly count: number; readonly why: string } | undefined {
  const { rejectedLogRecords, errorMessage } = partialSuccess ?? {};
  const count = Number(rejectedLogRecords ?? 0);
  const words = typeof errorMessage === 'string' ? inert(errorMessage) : '';
  return count > 0 ? { count, why: `it rejected ${count} records: ${words || 'it gives no reason'}` } : undefined;
}
