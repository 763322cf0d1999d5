import { resolve } from 'node:path';
import * as z from 'zod';
import { milliseconds } from '#core/duration.ts';
import type { Kind } from '#core/record_kinds.ts';
import { size } from '#core/size.ts';

/** What a sink gets that asks for nothing: an upgrade never starts to send more. */
const DEFAULT_KIND: Kind = 'event';
const QUEUE_RECORDS = 10_000;
const QUEUE_RECORDS_MAX = 1_000_000;

/** A key with nothing behind it means all defaults. */
function section<T extends z.ZodRawShape>(shape: T) {
  const schema = z.strictObject(shape).refine((value) => {
    const { basicAuth, bearerTokenFile } = value as { basicAuth?: unknown; bearerTokenFile?: unknown };
    return basicAuth === undefined || bearerTokenFile === undefined;
  }, 'basicAuth or bearerTokenFile, not both');
  return z.preprocess((value) => value ?? {}, schema);
}

const QUEUE = {
  queue: z
    .int()
    .min(1)
    .max(QUEUE_RECORDS_MAX)
    .default(QUEUE_RECORDS)
    .describe('Records that may wait in memory; past that the oldest are dropped and counted.'),
  queueBytes: size('16MiB', '64KiB', '1GiB').describe('Bytes that their texts may have.'),
};

const PATH = z.string().regex(/^\//, 'an absolute path');

/** Credentials are files: a Secret is mounted as one, is replaced while we run, and is in no configuration. */
const HTTP = {
  url: z
    .string()
    .superRefine((text, context) => {
      const why = faultOfUrl(text);
      if (why !== undefined) context.addIssue({ code: 'custom', message: why });
    })
    .describe('Of the server; the path of its API is added.'),
  timeout: milliseconds('10s', '100ms', '5m').describe('A request that takes longer has failed.'),
  basicAuth: z
    .strictObject({
      username: z.string().min(1).describe('The user.'),
      passwordFile: PATH.describe('File that has the password; read anew for each request.'),
    })
    .optional()
    .describe('Where the server asks for a user and a password.'),
  bearerTokenFile: PATH.optional().describe('File that has the token; read anew for each request.'),
  headers: z
    .record(z.string().regex(/^[A-Za-z0-9-]+$/, 'a name of letters, digits and -'), z.string())
    .default({})
    .describe('More headers. Not for secrets: they are text in the configuration.'),
  tls: z
    .strictObject({
      ca: PATH.optional().describe("File with the certificates that sign the server's; without it the system's hold."),
      cert: PATH.optional().describe('File with our certificate, where the server asks for one.'),
      key: PATH.optional().describe('File with its key.'),
      serverName: z.string().optional().describe('Name that the certificate is for, where it is not that of the URL.'),
      insecureSkipVerify: z.boolean().default(false).describe('Take any certificate.'),
    })
    .refine(({ cert, key }) => (cert === undefined) === (key === undefined), 'cert and key together, or neither')
    .optional(),
};

function faultOfUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return 'a URL like https://loki.example:3100';
  const { protocol, username, password, search, hash } = new URL(text);
  if (protocol !== 'http:' && protocol !== 'https:') return 'a URL that begins with http:// or https://';
  if (username !== '' || password !== '') return 'a URL without user and password; give basicAuth';
  return search + hash === '' ? undefined : 'a URL without ? and #';
}

/** Batches that are small enough for the defaults of servers, and large enough to be worth a request. */
const BATCH = {
  batch: section({
    events: z.int().min(1).max(100_000).default(5_000).describe('Records of a request.'),
    bytes: size('1MiB', '1KiB', '16MiB').describe('Bytes of their texts, before they are compressed.'),
    age: milliseconds('1s', '0s', '1m').describe('How long a record waits for others to go with it.'),
  }).prefault({}),
};

const SPOOL = {
  spool: z
    .strictObject({
      directory: PATH.describe('Of this agent alone.'),
      size: size('256MiB', '1MiB', '64GiB').describe('Bytes on the disk; past that the oldest records are dropped.'),
    })
    .optional()
    .describe('Keep records on the disk until they are delivered, also when the agent ends.'),
};

const RESERVED_LABELS = ['job', 'node', 'probe', 'type', 'namespace'];

const LABEL_NAME = z
  .string()
  .regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, 'a name of letters, digits and _')
  .refine((name) => !RESERVED_LABELS.includes(name), `a label other than ${RESERVED_LABELS.join(', ')}`);

const LOKI = {
  ...HTTP,
  tenant: z
    .string()
    .regex(/^[A-Za-z0-9!._*'()|-]{1,150}$/, "at most 150 letters, digits and !._*'()-")
    .optional()
    .describe('Header X-Scope-OrgID.'),
  labels: z.record(LABEL_NAME, z.string().min(1)).default({}).describe('More labels for all streams: the cluster.'),
  structuredMetadata: z
    .boolean()
    .default(true)
    .describe('Send Pod, peer and addresses as structured metadata; false for Loki before 3.0.'),
  compress: z.boolean().default(true).describe('Send with gzip.'),
  ...BATCH,
  ...QUEUE,
  ...SPOOL,
};

const FILE = {
  path: PATH.describe('The file; its folder is made where it is missing.'),
  rotateBytes: size('100MiB', '1KiB', '64GiB').describe('A file that is so large is put aside.'),
  rotateAge: milliseconds('24h', '1s', '8760h').describe('So is one that is so old.'),
  keep: z
    .int()
    .min(0)
    .max(1_000)
    .default(5)
    .describe('Files that were put aside and are kept: `path.1` is the newest.'),
  ...QUEUE,
};

const OTLP = { ...HTTP, compress: z.boolean().default(true).describe('Send with gzip.'), ...BATCH, ...QUEUE, ...SPOOL };

/** @param kinds of records, all that there are */
export function sinksSchema(kinds: readonly string[]) {
  const taken = {
    kinds: z
      .array(z.enum(kinds))
      .refine(({ length }) => length > 0, `at least one of ${kinds.join(', ')}`)
      .default([DEFAULT_KIND])
      .describe(`Which records it gets: ${kinds.map((kind) => `\`${kind}\``).join(', ')}.`),
  };
  return z
    .strictObject({
      stdout: section({ ...taken, ...QUEUE })
        .optional()
        .describe('A JSON object a line on standard output.'),
      file: section({ ...FILE, ...taken })
        .optional()
        .describe('A JSON object a line in a file.'),
      loki: section({ ...LOKI, ...taken })
        .optional()
        .describe("Grafana Loki's push API."),
      otlp: section({ ...OTLP, ...taken })
        .optional()
        .describe('Logs by OTLP over HTTP, to an OpenTelemetry collector.'),
    })
    .superRefine(({ loki, otlp }, context) => {
      const [folder, other] = [loki, otlp].map((sink) => sink?.spool && resolve(sink.spool.directory));
      if (folder === undefined || folder !== other) return;
      context.addIssue({
        code: 'custom',
        path: ['otlp', 'spool', 'directory'],
        message: 'a folder of its own: the spool of loki is there',
      });
    })
    .prefault({ stdout: {} })
    .describe('Where records go.');
}

export type SinksConfig = z.output<ReturnType<typeof sinksSchema>>;
export type SinkName = keyof SinksConfig;
export type SinkConfig<Name extends SinkName> = NonNullable<SinksConfig[Name]>;
export type QueueConfig = SinkConfig<'stdout'>;
export type HttpConfig = Pick<SinkConfig<'otlp'>, keyof typeof HTTP>;
export type SpoolConfig = NonNullable<SinkConfig<'loki'>['spool']>;

/** The agent's own log to Loki. */
export const LOG_LOKI = section({
  ...HTTP,
  tenant: LOKI.tenant,
  labels: LOKI.labels,
}).describe('Send the log to Loki as well.');

export type LogLokiConfig = z.output<typeof LOG_LOKI>;
