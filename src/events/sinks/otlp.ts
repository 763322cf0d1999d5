import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { SinkConfig } from '../../config/sinks.ts';
import type { Severity } from '../../probes/event.ts';
import { type EventRecord, timeNsOf } from '../envelope.ts';
import type { EventLine } from '../event_line.ts';
import { type Receipt, type Sink, Unavailable } from '../sink.ts';
import { deliver } from './deliver.ts';
import { type Answer, HttpConnection } from './http.ts';

// Loaded only where the sink is configured: the exporter and what it needs are a megabyte.

type Exporter = Pick<OTLPLogExporter, 'export' | 'shutdown'>;
type LogRecord = Parameters<OTLPLogExporter['export']>[0][number];
type Attributes = LogRecord['attributes'];

const LOGS_PATH = '/v1/logs';
const SCOPE = { name: 'netsonde' };
/** Numbers of OpenTelemetry's log data model: INFO, WARN, ERROR. */
const SEVERITY_NUMBERS: Readonly<Record<Severity, number>> = { info: 9, warning: 13, critical: 17 };
const NANOSECOND_DIGITS = 9;
/** What the exporter says where the collector asks for patience. It has tried some times by then. */
const TOO_BUSY = 'the collector answers 429, 502, 503 or 504';

/** Sends logs by OTLP over HTTP, with the exporter of OpenTelemetry. */
export class OtlpSink implements Sink {
  readonly name = 'otlp';
  readonly #config: SinkConfig<'otlp'>;
  readonly #url: URL;
  readonly #resources = new Map<string, Resource>();
  #open: { readonly exporter: Exporter; readonly connection: HttpConnection } | undefined;

  constructor(config: SinkConfig<'otlp'>) {
    this.#config = config;
    this.#url = logsUrl(config.url);
  }

  async write(events: readonly EventLine[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    try {
      await deliver(events, receipt, (part) => this.#export(part, signal));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#open?.connection.close();
    this.#open = undefined;
  }

  async #export(events: readonly EventLine[], signal: AbortSignal): Promise<Answer> {
    const exporter = await this.#exporter();
    const records = events.map(({ record }) => this.#toLog(record));
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      exporter.export(records, ({ code, error }) => {
        if (code === 0) resolve({ status: 200, text: '', retryAfterMs: 0 });
        else settleFailure(error, resolve, reject);
      });
    });
  }

  async #exporter(): Promise<Exporter> {
    if (this.#open?.connection.isOld === true) await this.close();
    if (this.#open === undefined) {
      const connection = new HttpConnection(this.#url, this.#config);
      const agent = await connection.agent();
      const exporter = new OTLPLogExporter({
        url: this.#url.href,
        headers: async () => ({ ...this.#config.headers, ...(await connection.credentials()) }),
        timeoutMillis: this.#config.timeout,
        concurrencyLimit: 1,
        httpAgentOptions: () => agent,
        ...(this.#config.compress ? { compression: 'gzip' as never } : {}),
      });
      this.#open = { exporter, connection };
    }
    // A file that is missing is told by us: the exporter would not.
    await this.#open.connection.credentials();
    return this.#open.exporter;
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
export function logsUrl(text: string): URL {
  const url = new URL(text);
  if (!url.pathname.endsWith('/logs')) url.pathname = url.pathname.replace(/\/$/, '') + LOGS_PATH;
  return url;
}

function withoutNull(fields: Readonly<Record<string, unknown>>): Attributes {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as Attributes;
}

function settleFailure(
  error: (Error & { code?: unknown; data?: string }) | undefined,
  resolve: (answer: Answer) => void,
  reject: (error: Error) => void,
): void {
  const { code, data = '', message = '' } = error ?? {};
  if (typeof code === 'number') resolve({ status: code, text: data.trim().split('\n', 1)[0] ?? '', retryAfterMs: 0 });
  else reject(new Unavailable(/retryable status/.test(message) ? TOO_BUSY : message));
}
