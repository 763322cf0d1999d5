import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { fault, type TlsConfig } from './web_config.ts';

/** TLS 1.3 cipher suites. All of them are offered, because the configuration cannot select among them. */
const TLS13_CIPHERS = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

export interface TlsSettings {
  readonly config: TlsConfig;
  readonly context: SecureContextOptions;
  /** When the certificate expires, in milliseconds since the epoch. */
  readonly untilMs: number;
}

/**
 * Returns the settings of a TLS server.
 * @param nowMs current time in milliseconds since the epoch, at which certificates have to be valid
 * @throws {ConfigError} if the certificate is not valid now, does not match the key, or is not PEM
 */
export function tlsSettings(config: TlsConfig, nowMs: number): TlsSettings {
  const [certificate] = certificatesOf(config.cert, 'cert_file');
  if (certificate === undefined) throw fault('cert_file', 'a certificate in PEM');
  if (certificate.validToDate.getTime() <= nowMs)
    throw fault('cert_file', `a valid certificate; this one expired on ${certificate.validToDate.toISOString()}`);
  if (certificate.validFromDate.getTime() > nowMs)
    throw fault(
      'cert_file',
      `a valid certificate; this one is not valid before ${certificate.validFromDate.toISOString()}`,
    );
  if (!certificate.checkPrivateKey(privateKeyOf(config.key)))
    throw fault('key_file', 'the key of the certificate; this one belongs to another');
  const authorities = config.clientCa === undefined ? [] : certificatesOf(config.clientCa, 'client_ca_file');
  if (config.clientCa !== undefined && !authorities.some(({ validToDate }) => validToDate.getTime() > nowMs))
    throw fault('client_ca_file', 'at least one certificate in PEM that has not expired');
  const { cert, key, clientCa, minVersion, maxVersion, ciphers, honorCipherOrder, curves } = config;
  const context: SecureContextOptions = {
    cert,
    key,
    ca: clientCa,
    minVersion,
    maxVersion,
    honorCipherOrder,
    ...(ciphers.length > 0 && { ciphers: [...new Set([...TLS13_CIPHERS, ...ciphers])].join(':') }),
    ...(curves.length > 0 && { ecdhCurve: curves.join(':') }),
  };
  try {
    createSecureContext(context);
  } catch (error) {
    throw fault('cert_file', `settings that OpenSSL accepts: ${(error as Error).message}`);
  }
  return { config, context, untilMs: certificate.validToDate.getTime() };
}

const BLOCK = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

function certificatesOf(pem: string, key: string): X509Certificate[] {
  try {
    return (pem.match(BLOCK) ?? []).map((block) => new X509Certificate(block));
  } catch {
    throw fault(key, 'certificates in PEM; one of them is malformed');
  }
}

function privateKeyOf(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const isLocked = (error as NodeJS.ErrnoException).code === 'ERR_MISSING_PASSPHRASE';
    throw fault('key_file', isLocked ? 'a key without a passphrase' : 'a private key in PEM');
  }
}

/**
 * Returns the reason why a client's certificate is not sufficient for access; undefined if it is sufficient or none is
 * required.
 */
export function clientFault(
  { clientAuth, allowedSans }: TlsConfig,
  socket: TLSSocket,
  nowMs: number,
): string | undefined {
  if (clientAuth === 'NoClientCert' || clientAuth === 'RequestClientCert') return undefined;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined)
    return clientAuth === 'VerifyClientCertIfGiven' ? undefined : 'a client certificate is required';
  // The expiry is checked here because the certificate of a resumed session is not verified again.
  if (certificate.validToDate.getTime() <= nowMs) return "the client's certificate has expired";
  const isVerified = clientAuth !== 'RequireAnyClientCert';
  if (isVerified && !socket.authorized)
    return `the client's certificate was rejected: ${String(socket.authorizationError)}`;
  if (allowedSans === undefined) return undefined;
  const isAllowed = subjectAltNames(certificate.subjectAltName ?? '').some((name) => allowedSans.includes(name));
  return isAllowed ? undefined : "no name of the client's certificate is among client_allowed_sans";
}

/** Whether the client has a verified certificate. A resumed session can be authorized without a certificate. */
export function isVerifiedClient({ clientAuth }: TlsConfig, socket: TLSSocket): boolean {
  const isVerified = clientAuth === 'VerifyClientCertIfGiven' || clientAuth === 'RequireAndVerifyClientCert';
  return isVerified && socket.authorized && socket.getPeerX509Certificate() !== undefined;
}

/**
 * Matches one name in a subject alternative name. Node.js quotes a name as JSON if it contains text that looks like the
 * start of another name.
 */
const SAN = /(?:^|, )(DNS|IP Address|email|URI|othername|DirName|Registered ID|[A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)/y;
const COMPARED = new Set(['DNS', 'IP Address', 'email', 'URI']);

/**
 * Parses a subject alternative name as Node.js formats it: `DNS:a, IP Address:10.0.0.1`. Returns no names if it has
 * another form.
 */
export function subjectAltNames(text: string): string[] {
  const names: string[] = [];
  SAN.lastIndex = 0;
  let end = 0;
  for (let found = SAN.exec(text); found !== null; found = SAN.exec(text)) {
    const [, kind = '', value = ''] = found;
    end = SAN.lastIndex;
    if (COMPARED.has(kind)) names.push(value.startsWith('"') ? (JSON.parse(value) as string) : value);
    if (end === text.length) break;
  }
  return end === text.length ? names : [];
}
