import { isAbsolute, join } from 'node:path';
import * as z from 'zod';
import { isMapping } from '#config/document.ts';
import { ConfigError, faultsOf } from '#config/faults.ts';
import { parseYaml } from '#config/yaml.ts';

/**
 * Parses the web configuration file of the Prometheus exporters: TLS, client certificates and passwords
 * (https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md).
 */

export const CLIENT_AUTH = [
  'NoClientCert',
  'RequestClientCert',
  'RequireAnyClientCert',
  'VerifyClientCertIfGiven',
  'RequireAndVerifyClientCert',
] as const;
export type ClientAuth = (typeof CLIENT_AUTH)[number];

/** OpenSSL names of the TLS 1.2 and 1.3 cipher suites, by their names in Go's crypto/tls. */
export const CIPHER_SUITES: Readonly<Record<string, string>> = {
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: 'ECDHE-ECDSA-AES128-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: 'ECDHE-ECDSA-AES256-SHA',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: 'ECDHE-RSA-AES128-SHA',
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: 'ECDHE-RSA-AES256-SHA',
  TLS_AES_128_GCM_SHA256: 'TLS_AES_128_GCM_SHA256',
  TLS_AES_256_GCM_SHA384: 'TLS_AES_256_GCM_SHA384',
  TLS_CHACHA20_POLY1305_SHA256: 'TLS_CHACHA20_POLY1305_SHA256',
};

const CURVES = { CurveP256: 'P-256', CurveP384: 'P-384', CurveP521: 'P-521', X25519: 'X25519' } as const;

/** Maximum cost of a bcrypt hash. A higher cost would occupy this thread for seconds per password. */
const COST_MAX = 14;
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;

const words = z.string().regex(/^[\t\x20-\x7e]*$/, 'printable characters on one line');
const version = z
  .string()
  .refine(
    (text) => text === 'TLS12' || text === 'TLS13',
    'TLS12 or TLS13; older versions are insecure and not supported',
  );
const hash = z.string().superRefine((text, context) => {
  const cost = Number(BCRYPT.exec(text)?.[1]);
  if (!Number.isFinite(cost)) context.addIssue('a bcrypt hash, such as the output of `htpasswd -nBC 10 ""`');
  else if (cost > COST_MAX)
    context.addIssue(`a bcrypt hash with a cost of at most ${COST_MAX}; a cost of ${cost} takes seconds`);
});

const TLS = z.strictObject({
  cert: z.string().optional(),
  key: z.string().optional(),
  client_ca: z.string().optional(),
  cert_file: z.string().optional(),
  key_file: z.string().optional(),
  client_ca_file: z.string().optional(),
  client_auth_type: z
    .enum([...CLIENT_AUTH, 'RequireClientCert', ''], `one of ${CLIENT_AUTH.join(', ')}`)
    .default('NoClientCert')
    .transform((type): ClientAuth => {
      if (type === '') return 'NoClientCert';
      return type === 'RequireClientCert' ? 'RequireAnyClientCert' : type;
    }),
  client_allowed_sans: z.array(z.string().min(1)).optional(),
  min_version: version.default('TLS12'),
  max_version: version.default('TLS13'),
  cipher_suites: z
    .array(z.enum(Object.keys(CIPHER_SUITES), `one of ${Object.keys(CIPHER_SUITES).join(', ')}`))
    .default([]),
  prefer_server_cipher_suites: z.boolean().default(true),
  curve_preferences: z.array(z.enum(Object.keys(CURVES) as (keyof typeof CURVES)[])).default([]),
});

const HTTP = z.strictObject({
  http2: z
    .unknown()
    .refine(
      (on) => on === undefined || on === false,
      'false, or no value; HTTP/2 is not supported, and scrapers do not need it',
    )
    .optional(),
  headers: z
    .strictObject({
      'Content-Security-Policy': words.optional(),
      'X-Frame-Options': z.enum(['deny', 'sameorigin', '']).optional(),
      'X-Content-Type-Options': z.enum(['nosniff', '']).optional(),
      'X-XSS-Protection': words.optional(),
      'Strict-Transport-Security': words.optional(),
    })
    .default({}),
});

const DOCUMENT = z.strictObject({
  tls_server_config: TLS.optional(),
  http_server_config: HTTP.optional(),
  basic_auth_users: z
    .record(
      z
        .string()
        .min(1)
        .regex(/^[^:]+$/, 'a name without a colon'),
      hash,
    )
    .default({}),
  rate_limit: z
    .unknown()
    .refine(
      (limit) => limit === undefined,
      'no value; docs/api.md has the limits of requests, which do not include a rate',
    )
    .optional(),
});

type Document = z.infer<typeof DOCUMENT>;
type TlsDocument = NonNullable<Document['tls_server_config']>;

const SECTIONS: Readonly<Record<string, z.ZodObject>> = {
  '': DOCUMENT,
  tls_server_config: TLS,
  http_server_config: HTTP,
  'http_server_config.headers': HTTP.shape.headers.unwrap() as z.ZodObject,
};

/** TLS settings; `cert`, `key` and `clientCa` are in PEM. */
export interface TlsConfig {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
  readonly clientAuth: ClientAuth;
  readonly allowedSans: readonly string[] | undefined;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly maxVersion: 'TLSv1.2' | 'TLSv1.3';
  /** OpenSSL names of the cipher suites; empty for the default. */
  readonly ciphers: readonly string[];
  readonly honorCipherOrder: boolean;
  readonly curves: readonly string[];
}

export interface WebConfig {
  readonly tls: TlsConfig | undefined;
  /** Password hashes by user name; empty if no password is required. */
  readonly users: ReadonlyMap<string, string>;
  readonly headers: Readonly<Record<string, string>>;
}

/** Reads a file that the document refers to. @throws if it cannot be read */
export type ReadFile = (path: string) => Promise<string>;

/**
 * @param directory directory of the document, for relative file names in it
 * @throws {ConfigError} with all errors, but without any secret
 */
export async function parseWebConfig(text: string, directory: string, read: ReadFile): Promise<WebConfig> {
  const document = parseYaml(text) ?? {};
  refuseUnseen(document);
  const { data, error } = DOCUMENT.safeParse(document);
  if (error !== undefined) {
    const known = (path: readonly PropertyKey[]) => Object.keys(SECTIONS[path.join('.')]?.shape ?? {});
    const faults = faultsOf(error, { path: [], document }, known);
    throw new ConfigError(faults.map((fault) => ({ ...fault, value: shown(fault) })));
  }
  const { tls_server_config: tls, http_server_config: http, basic_auth_users: users } = data;
  const isEncrypted = tls !== undefined && hasTls(tls);
  return {
    tls: isEncrypted ? await tlsOf(tls, directory, read) : undefined,
    users: new Map(Object.entries(users)),
    headers: Object.fromEntries(Object.entries(http?.headers ?? {}).filter(([, value]) => value !== '')) as Record<
      string,
      string
    >,
  };
}

/**
 * Rejects a user named `__proto__`, which zod would silently drop. If that were the only user, no password would be
 * required at all.
 */
function refuseUnseen(document: unknown): void {
  const users = isMapping(document) ? document['basic_auth_users'] : undefined;
  if (isMapping(users) && Object.hasOwn(users, '__proto__'))
    throw new ConfigError([{ path: 'basic_auth_users.__proto__', value: '', allowed: 'another name' }]);
}

const PUBLIC =
  /^(tls_server_config\.(\w+_file|\w*version|client_a\w+|cipher_suites|curve_preferences|prefer_\w+)|http_server_config)/;

/** Returns the value to show in an error message. Secrets are hidden. */
function shown({ path, value }: { readonly path: string; readonly value: string }): string {
  return value === '' || value === 'null' || PUBLIC.test(path) ? value : '(hidden)';
}

function hasTls(tls: TlsDocument): boolean {
  const { cert, key, client_ca, cert_file, key_file, client_ca_file, client_auth_type } = tls;
  const given = [cert, key, client_ca, cert_file, key_file, client_ca_file];
  return given.some((text) => text !== undefined && text !== '') || client_auth_type !== 'NoClientCert';
}

async function tlsOf(tls: TlsDocument, directory: string, read: ReadFile): Promise<TlsConfig> {
  const pem = async (name: 'cert' | 'key' | 'client_ca') => {
    const [text, file] = [tls[name] || undefined, tls[`${name}_file`] || undefined];
    if (text !== undefined && file !== undefined) throw fault(name, `not both ${name} and ${name}_file`);
    if (file === undefined) return text;
    try {
      return await read(isAbsolute(file) ? file : join(directory, file));
    } catch (error) {
      throw fault(`${name}_file`, `a readable file: ${(error as Error).message}`, JSON.stringify(file));
    }
  };
  const [cert, key, clientCa] = [await pem('cert'), await pem('key'), await pem('client_ca')];
  if (cert === undefined) throw fault('cert_file', 'is missing, but TLS requires a certificate');
  if (key === undefined) throw fault('key_file', 'is missing, but TLS requires the key of the certificate');
  const { client_auth_type: clientAuth, client_allowed_sans: allowedSans } = tls;
  const isVerified = clientAuth === 'VerifyClientCertIfGiven' || clientAuth === 'RequireAndVerifyClientCert';
  if (isVerified && clientCa === undefined)
    throw fault('client_ca_file', `is missing, but ${clientAuth} requires the CA that signs client certificates`);
  if (clientCa !== undefined && clientAuth === 'NoClientCert')
    throw fault(
      'client_auth_type',
      'RequireAndVerifyClientCert, or no client_ca_file; no certificate is requested now',
    );
  if (allowedSans !== undefined && !clientAuth.startsWith('Require'))
    throw fault(
      'client_allowed_sans',
      'no value, unless client_auth_type is RequireAndVerifyClientCert or RequireAnyClientCert',
    );
  if (tls.min_version > tls.max_version) throw fault('min_version', 'at most max_version', tls.min_version);
  return {
    cert,
    key,
    clientCa,
    clientAuth,
    allowedSans,
    minVersion: tls.min_version === 'TLS12' ? 'TLSv1.2' : 'TLSv1.3',
    maxVersion: tls.max_version === 'TLS12' ? 'TLSv1.2' : 'TLSv1.3',
    ciphers: tls.cipher_suites.map((name) => CIPHER_SUITES[name] ?? name),
    honorCipherOrder: tls.prefer_server_cipher_suites,
    curves: tls.curve_preferences.map((name) => CURVES[name]),
  };
}

/** Returns an error for a key of `tls_server_config`. */
export function fault(key: string, allowed: string, value = ''): ConfigError {
  return new ConfigError([{ path: `tls_server_config.${key}`, value, allowed }]);
}
