import { JsonLogsSerializer } from '@opentelemetry/otlp-transformer';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { EventRecord } from '#api/events.ts';
import type { Severity } from '#api/words.ts';
import type { SinkConfig } from '#config/sinks.ts';
import { timeNsOf } from '#events/envelope.ts';
import type { EventLine } from '#events/event_line.ts';
import type { Receipt, Sink } from '../sink.ts';
import { deliver, type Outcome } from './deliver.ts';
import { type Answer, HttpPoster } from './http.ts';

// Loaded only where the sink is configured: the format and what it needs are large.

type LogRecord = Parameters<typeof JsonLogsSerializer.serializeRequest>[0][number];
type Attributes = LogRecord['attributes'];

const LOGS_PATH = '/v1/logs';
const SCOPE = { name: 'netsonde' };
/** Numbers of OpenTelemetry's log data model: INFO, WARN, ERROR. */
const SEVERITY_NUMBERS: Readonly<Record<Severity, number>> = { info: 9, warning: 13, critical: 17 };
const NANOSECOND_DIGITS = 9;

/** Sends logs by OTLP over HTTP, in JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp). */
export class OtlpSink implements Sink {
  readonly name = 'otlp';
  readonly #poster: HttpPoster;
  readonly #resources = new Map<string, Resource>();

  constructor(config: SinkConfig<'otlp'>) {
    this.#poster = new HttpPoster(logsUrl(config.url), config);
  }

  write(events: readonly EventLine[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    return deliver(events, receipt, (part) => this.#export(part, signal));
  }

  async close(): Promise<void> {
    this.#poster.close();
  }

  async #export(events: readonly EventLine[], signal: AbortSignal): Promise<Outcome> {
    const body = JsonLogsSerializer.serializeRequest(events.map(({ record }) => this.#toLog(record)));
    const answer = await this.#poster.post(body ?? '', { 'content-type': 'application/json' }, signal);
    return { ...answer, refused: refusedIn(answer) };
  }

  #toLog(record: EventRecord): LogRecord {
    const time = timeNsOf(record);
    const hrTime = [Number(time.slice(0, -NANOSECOND_DIGITS)), Number(time.slice(-NANOSECOND_DIGITS))] as [
      number,
      number,
    ];
    const { message, time: _time, type, severity, node, ...attributes } = record;
    return {
      hrTime,
      hrTimeObserved: hrTime,
      eventName: type,
      severityText: severity,
      severityNumber: SEVERITY_NUMBERS[severity],
      body: message,
      attributes: withoutNull({ type, ...attributes }),
      droppedAttributesCount: 0,
      resource: this.#resourceOf(node),
      instrumentationScope: SCOPE,
    };
  }

  #resourceOf(node: string): Resource {
    let resource = this.#resources.get(node);
    if (resource === undefined) {
      resource = resourceFromAttributes({ 'service.name': SCOPE.name, 'host.name': node });
      this.#resources.set(node, resource);
    }
    return resource;
  }
}

/** The URL of a collector, or the whole one of its logs. */
function logsUrl(text: string): URL {
  const url = new URL(text);
  if (!url.pathname.endsWith('/logs')) url.pathname = url.pathname.replace(/\/$/, '') + LOGS_PATH;
  return url;
}

function withoutNull(fields: Readonly<Record<string, unknown>>): Attributes {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as Attributes;
}

/** A collector may take a part, and says how many records it did not, but not which. */
function refusedIn({ text }: Answer): Outcome['refused'] {
  try {
    const { rejectedLogRecords, errorMessage } =
      JsonLogsSerializer.deserializeResponse(Buffer.from(text)).partialSuccess ?? {};
    const count = Number(rejectedLogRecords ?? 0);
    return count > 0
      ? { count, why: `it refused ${count} records: ${errorMessage ?? 'it does not say why'}` }
      : undefined;
  } catch {
    return undefined;
  }
}
