import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

interface AnyValue {
  readonly stringValue?: string;
  readonly intValue?: number | string;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
  readonly arrayValue?: { readonly values: readonly AnyValue[] };
  readonly kvlistValue?: { readonly values: readonly KeyValue[] };
}

interface KeyValue {
  readonly key: string;
  readonly value: AnyValue;
}

interface LogsRequest {
  readonly resourceLogs: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeLogs: readonly {
      readonly logRecords: readonly {
        readonly timeUnixNano: string;
        readonly severityText: string;
        readonly body: AnyValue;
        readonly attributes: readonly KeyValue[];
      }[];
    }[];
  }[];
}

export interface OtlpRecord {
  readonly time: string;
  readonly severity: string;
  readonly body: unknown;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** Receives logs in the JSON encoding of OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp). */
export class OtlpServer implements AsyncDisposable {
  readonly records: OtlpRecord[] = [];
  readonly headers: IncomingMessage['headers'][] = [];
  fault: { readonly status: number; readonly text?: string; readonly headers?: Record<string, string> } | undefined;
  /** Selects the record bodies for which the server responds with 400. */
  refuse: (body: unknown) => boolean = () => false;
  /** Selects the record bodies that the server rejects with a partial success. */
  leaveOut: (body: unknown) => boolean = () => false;
  #server: Server | undefined;
  #port = 0;

  static async start(): Promise<OtlpServer> {
    const server = new OtlpServer();
    await server.up();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async up(): Promise<void> {
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { status, text, headers } = this.fault ?? this.#take(request, Buffer.concat(chunks));
      response.writeHead(status, headers).end(text);
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  async down(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    this.#server?.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  #take(
    { url, headers }: IncomingMessage,
    body: Buffer,
  ): { status: number; text: string; headers?: Record<string, string> } {
    if (url !== '/v1/logs' || headers['content-type'] !== 'application/json') return { status: 404, text: 'not here' };
    const text = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    const records = recordsOf(JSON.parse(text.toString()) as LogsRequest);
    if (records.some((record) => this.refuse(record.body))) return { status: 400, text: 'bad record' };
    this.headers.push(headers);
    const taken = records.filter((record) => !this.leaveOut(record.body));
    this.records.push(...taken);
    const partialSuccess = { rejectedLogRecords: String(records.length - taken.length), errorMessage: 'too odd' };
    const answer = taken.length === records.length ? {} : { partialSuccess };
    return { status: 200, text: JSON.stringify(answer), headers: { 'content-type': 'application/json' } };
  }
}

function recordsOf({ resourceLogs }: LogsRequest): OtlpRecord[] {
  return resourceLogs.flatMap(({ resource, scopeLogs }) =>
    scopeLogs.flatMap(({ logRecords }) =>
      logRecords.map(({ timeUnixNano, severityText, body, attributes }) => ({
        time: timeUnixNano,
        severity: severityText,
        body: plain(body),
        resource: plainMap(resource.attributes),
        attributes: plainMap(attributes),
      })),
    ),
  );
}

function plainMap(values: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(values.map(({ key, value }) => [key, plain(value)]));
}

function plain({ stringValue, intValue, doubleValue, boolValue, arrayValue, kvlistValue }: AnyValue): unknown {
  if (arrayValue !== undefined) return arrayValue.values.map(plain);
  if (kvlistValue !== undefined) return plainMap(kvlistValue.values);
  return stringValue ?? doubleValue ?? boolValue ?? (intValue === undefined ? undefined : Number(intValue));
}
