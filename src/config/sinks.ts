import { resolve } from 'node:path';
import * as z from 'zod';
import { milliseconds } from '#core/duration.ts';
import { EVENT_METADATA, FLOW_METADATA, INCIDENT_METADATA, type Kind, REQUEST_METADATA } from '#core/record_kinds.ts';
import { size } from '#core/size.ts';
import { namesTo } from './names_to.ts';

/** The only record kind that a sink receives by default, so that an upgrade never increases what a sink receives. */
const DEFAULT_KIND: Kind = 'event';
const QUEUE_RECORDS = 10_000;
const QUEUE_RECORDS_MAX = 1_000_000;

interface Credentials {
  readonly basicAuth?: unknown;
  readonly bearerTokenFile?: unknown;
  readonly tenant?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Returns the schema of a section. A key without a value stands for all defaults. */
function section<T extends z.ZodRawShape>(shape: T) {
  const schema = z.strictObject(shape).superRefine((value, context) => {
    const why = faultOfCredentials(value);
    if (why !== undefined) context.addIssue({ code: 'custom', message: why });
  });
  return z.preprocess((value) => value ?? {}, schema);
}

function faultOfCredentials({ basicAuth, bearerTokenFile, tenant, headers = {} }: Credentials): string | undefined {
  if (basicAuth !== undefined && bearerTokenFile !== undefined) return 'basicAuth or bearerTokenFile, not both';
  const names = Object.keys(headers).map((name) => name.toLowerCase());
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) return `each header once; ${twice} is given twice`;
  if ((basicAuth ?? bearerTokenFile) !== undefined && names.includes('authorization')) {
    return 'only one of basicAuth, bearerTokenFile and the header Authorization';
  }
  return tenant !== undefined && names.includes('x-scope-orgid')
    ? 'tenant or the header X-Scope-OrgID, not both'
    : undefined;
}

const QUEUE = {
  queue: z
    .int()
    .min(1)
    .max(QUEUE_RECORDS_MAX)
    .default(QUEUE_RECORDS)
    .describe('Maximum number of records that wait in memory. Beyond it, the oldest are dropped and counted.'),
  queueBytes: size('16MiB', '64KiB', '1GiB').describe('Maximum size of the waiting records in memory.'),
};

const PATH = z.string().regex(/^\//, 'an absolute path');

/** Headers that control how a request is sent. Users cannot set them, because the agent does. */
const OUR_HEADERS = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const HEADERS = namesTo(
  z
    .string()
    .regex(/^[A-Za-z0-9-]+$/, 'a name of letters, digits and -')
    .refine((name) => !OUR_HEADERS.has(name.toLowerCase()), 'a header that does not control how the request is sent'),
  z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'one line of plain text, without control characters'),
)
  .default({})
  .describe('Additional headers. They are plain text in the configuration, so they must not contain secrets.');

const BASIC_AUTH = z.strictObject({
  username: z.string().min(1).describe('User name.'),
  passwordFile: PATH.describe('File with the password. It is read again for each request.'),
});

function url(faultOf: (text: string) => string | undefined) {
  return z.string().superRefine((text, context) => {
    const why = faultOf(text);
    if (why !== undefined) context.addIssue({ code: 'custom', message: why });
  });
}

/**
 * Settings of the sinks that use HTTP. Credentials are read from files, because Secrets are mounted as files and may
 * change at any time, and because the configuration is not secret.
 */
const HTTP = {
  url: url(faultOfUrl).describe('URL of the server, without the path of the API.'),
  proxy: z
    .strictObject({
      url: url(faultOfProxy).describe('URL of the proxy, such as http://proxy.example:3128.'),
      basicAuth: BASIC_AUTH.optional().describe('User and password, if the proxy requires them.'),
    })
    .optional()
    .describe('HTTP proxy; https:// URLs use CONNECT. The environment (HTTPS_PROXY and so on) is ignored.'),
  timeout: milliseconds('10s', '100ms', '5m').describe('Timeout of a request.'),
  basicAuth: BASIC_AUTH.optional().describe('User and password, if the server requires them.'),
  bearerTokenFile: PATH.optional().describe('File with the bearer token. It is read again for each request.'),
  headers: HEADERS,
  tls: z
    .strictObject({
      ca: PATH.optional().describe(
        "File with the CA certificates that the server's certificate is verified with; the default is the system's.",
      ),
      cert: PATH.optional().describe('File with the client certificate, if the server requires one.'),
      key: PATH.optional().describe('File with the key of the client certificate.'),
      serverName: z
        .string()
        .optional()
        .describe('Host name in the server certificate, if it differs from the host of the URL.'),
      insecureSkipVerify: z.boolean().default(false).describe('Accept any certificate.'),
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

function faultOfProxy(text: string): string | undefined {
  const why = faultOfUrl(text);
  if (why !== undefined) return why;
  const { protocol, pathname } = new URL(text);
  return protocol === 'http:' && pathname === '/' ? undefined : 'a URL like http://proxy.example:3128';
}

/** Settings of batches. The defaults are within the limits that servers have by default. */
const BATCH = {
  batch: section({
    events: z.int().min(1).max(100_000).default(5_000).describe('Maximum number of records in a request.'),
    bytes: size('1MiB', '1KiB', '16MiB').describe('Maximum size of the records in a request, before compression.'),
    age: milliseconds('1s', '0s', '1m').describe('Maximum time that a record waits for others to be sent with it.'),
  }).prefault({}),
};

const SPOOL = {
  spool: z
    .strictObject({
      directory: PATH.describe('Directory that only this agent uses.'),
      size: size('256MiB', '1MiB', '64GiB').describe(
        'Maximum size on disk. Beyond it, the oldest records are dropped.',
      ),
    })
    .optional()
    .describe('Keep records on disk until they are delivered, even over a restart of the agent.'),
};

const STREAM_LABELS = ['job', 'node', 'probe', 'type', 'namespace'];
const LOG_LABELS = ['job', 'node', 'level'];
/**
 * Maximum number of additional labels. By default, Loki allows 15 labels in a stream (`max_label_names_per_series`).
 */
const LABELS_MAX = 15 - STREAM_LABELS.length;
/** Maximum length of a label value (Loki's `max_label_value_length`). */
const LABEL_LENGTH_MAX = 2_048;

/**
 * Returns the schema of additional Loki labels.
 * @param taken names that the agent itself uses; Loki would rename or reject labels with these names
 */
function lokiLabels(taken: readonly string[]) {
  const name = z
    .string()
    .regex(/^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/, 'a name of letters, digits and _, not starting with two _')
    .refine((text) => !taken.includes(text), `a label other than ${taken.join(', ')}`);
  return namesTo(name, z.string().min(1).max(LABEL_LENGTH_MAX))
    .refine((labels) => Object.keys(labels).length <= LABELS_MAX, `at most ${LABELS_MAX} labels`)
    .default({})
    .describe('Additional labels for all streams, such as the cluster.');
}

const LOKI = {
  ...HTTP,
  tenant: z
    .string()
    .regex(/^[A-Za-z0-9!._*'()|-]{1,150}$/, "at most 150 letters, digits and !._*'()-")
    .optional()
    .describe('Value of the header X-Scope-OrgID.'),
  labels: lokiLabels([...STREAM_LABELS, ...EVENT_METADATA]),
  structuredMetadata: z
    .boolean()
    .default(true)
    .describe('Send the Pod, peer and addresses as structured metadata. Set it to false for Loki before 3.0.'),
  compress: z.boolean().default(true).describe('Compress requests with gzip.'),
  ...BATCH,
  ...QUEUE,
  ...SPOOL,
};

const FILE = {
  path: PATH.describe('Path of the file. Its directory is created if it does not exist.'),
  rotateBytes: size('100MiB', '1KiB', '64GiB').describe('Size at which the file is rotated.'),
  rotateAge: milliseconds('24h', '1s', '8760h').describe('Age at which the file is rotated.'),
  keep: z.int().min(0).max(1_000).default(5).describe('Number of rotated files to keep; `path.1` is the newest.'),
  ...QUEUE,
};

const OTLP = {
  ...HTTP,
  compress: z.boolean().default(true).describe('Compress requests with gzip.'),
  ...BATCH,
  ...QUEUE,
  ...SPOOL,
};

/**
 * Returns the schema of the `sinks` section.
 * @param kinds all record kinds
 */
export function sinksSchema(kinds: readonly string[]) {
  const taken = {
    kinds: z
      .array(z.enum(kinds))
      .refine(({ length }) => length > 0, `at least one of ${kinds.join(', ')}`)
      .default([DEFAULT_KIND])
      .describe(`Kinds of records that the sink gets: ${kinds.map((kind) => `\`${kind}\``).join(', ')}.`),
  };
  return z
    .strictObject({
      stdout: section({ ...taken, ...QUEUE })
        .optional()
        .describe('Writes JSON lines to standard output.'),
      file: section({ ...FILE, ...taken })
        .optional()
        .describe('Writes JSON lines to a file.'),
      loki: section({ ...LOKI, ...taken })
        .optional()
        .describe("Sends to Grafana Loki's push API."),
      otlp: section({ ...OTLP, ...taken })
        .optional()
        .describe('Sends logs to an OpenTelemetry collector with OTLP over HTTP.'),
    })
    .superRefine(({ loki, otlp }, context) => {
      const fault = loki && faultOfLabels(loki);
      if (fault !== undefined)
        context.addIssue({ code: 'custom', path: ['loki', ...fault.path], message: fault.message });
      const [folder, other] = [loki, otlp].map((sink) => sink?.spool && resolve(sink.spool.directory));
      if (folder === undefined || folder !== other) return;
      context.addIssue({
        code: 'custom',
        path: ['otlp', 'spool', 'directory'],
        message: 'another directory: the spool of loki uses this one',
      });
    })
    .prefault({ stdout: {} })
    .describe('Where records are sent.');
}

const METADATA: Readonly<Partial<Record<Kind, readonly string[]>>> = {
  flow: FLOW_METADATA,
  incident: INCIDENT_METADATA,
  request: REQUEST_METADATA,
};

/**
 * Returns an error if a label has the same name as structured metadata of other records than events, which Loki would reject.
 * A sink that does not accept the kind may still use these names, as in earlier versions.
 */
function faultOfLabels({ kinds, labels }: { readonly kinds: readonly string[]; readonly labels: object }) {
  for (const [kind, names] of Object.entries(METADATA)) {
    const taken = names.find((name) => Object.hasOwn(labels, name));
    if (kinds.includes(kind) && taken !== undefined)
      return { path: ['labels', taken], message: `a label other than ${names.join(', ')}, which ${kind}s have` };
  }
  return undefined;
}

export type SinksConfig = z.output<ReturnType<typeof sinksSchema>>;
export type SinkName = keyof SinksConfig;
export type SinkConfig<Name extends SinkName> = NonNullable<SinksConfig[Name]>;
export type QueueConfig = SinkConfig<'stdout'>;
export type HttpConfig = Pick<SinkConfig<'otlp'>, keyof typeof HTTP>;
export type SpoolConfig = NonNullable<SinkConfig<'loki'>['spool']>;

/** Schema of the `log.loki` section, which sends the agent's log to Loki. */
export const LOG_LOKI = section({
  ...HTTP,
  tenant: LOKI.tenant,
  labels: lokiLabels(LOG_LABELS),
}).describe('Send the log to Loki as well.');

export type LogLokiConfig = z.output<typeof LOG_LOKI>;
