import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateAuthority } from '../../test/support/web_certificates.ts';
import { subjectAltNames, tlsSettings } from './tls_settings.ts';
import { parseWebConfig } from './web_config.ts';

const HASH = '$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze';
const DIRECTORY = '/etc/netsonde-web';

const parse = (text: string, files: Record<string, string> = {}) =>
  parseWebConfig(text, DIRECTORY, async (path) => {
    const found = files[path];
    if (found === undefined) throw new Error(`ENOENT: ${path}`);
    return found;
  });

describe('the document', () => {
  it('has the format of the exporters, with files from its own directory', async () => {
    const text = `
tls_server_config:
  cert_file: server.crt
  key_file: /run/key
  client_ca_file: ca.crt
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519, CurveP256]
http_server_config:
  http2: false
  headers: { X-Frame-Options: deny, X-XSS-Protection: '' }
basic_auth_users:
  alice: ${HASH}
`;
    const files = { [`${DIRECTORY}/server.crt`]: 'CERT', '/run/key': 'KEY', [`${DIRECTORY}/ca.crt`]: 'CA' };
    expect(await parse(text, files)).toEqual({
      tls: {
        cert: 'CERT',
        key: 'KEY',
        clientCa: 'CA',
        clientAuth: 'RequireAndVerifyClientCert',
        allowedSans: ['prometheus.example'],
        minVersion: 'TLSv1.2',
        maxVersion: 'TLSv1.3',
        ciphers: ['ECDHE-RSA-AES128-GCM-SHA256'],
        honorCipherOrder: false,
        curves: ['X25519', 'P-256'],
      },
      users: new Map([['alice', HASH]]),
      headers: { 'X-Frame-Options': 'deny' },
    });
  });

  it('may contain the texts themselves, and may be empty', async () => {
    const { tls } = await parse('tls_server_config: { cert: A, key: B, client_auth_type: RequireClientCert }');
    expect(tls).toMatchObject({ cert: 'A', key: 'B', clientAuth: 'RequireAnyClientCert', clientCa: undefined });
    const nothing = { tls: undefined, users: new Map(), headers: {} };
    expect([await parse('{}'), await parse('tls_server_config: {}'), await parse('basic_auth_users: {}')]).toEqual([
      nothing,
      nothing,
      nothing,
    ]);
  });

  const PAIR = 'cert: A, key: B';
  it.each([
    ['', 'the document: empty'],
    ['tls_server_config:', 'tls_server_config: null is not allowed'],
    ['tls_config: {}', 'tls_config: unknown key; valid keys: tls_server_config'],
    ['tls_server_config: { certfile: a }', 'tls_server_config.certfile: unknown key (did you mean cert_file?)'],
    ['tls_server_config: { key: B }', 'tls_server_config.cert_file: is missing'],
    ['tls_server_config: { cert: A }', 'tls_server_config.key_file: is missing'],
    ['tls_server_config: { cert: A, cert_file: a, key: B }', 'tls_server_config.cert: not both cert and cert_file'],
    [
      'tls_server_config: { cert_file: a, key: B }',
      'tls_server_config.cert_file: "a" is not allowed; allowed: a readable file: ENOENT',
    ],
    ['tls_server_config: { client_ca_file: ca }', 'tls_server_config.client_ca_file: "ca" is not allowed'],
    [`tls_server_config: { ${PAIR}, client_auth_type: RequireAndVerify }`, 'one of NoClientCert, RequestClientCert'],
    [`tls_server_config: { ${PAIR}, client_auth_type: RequireAndVerifyClientCert }`, 'client_ca_file: is missing'],
    [
      `tls_server_config: { ${PAIR}, client_ca: C }`,
      'client_auth_type: RequireAndVerifyClientCert, or no client_ca_file',
    ],
    [`tls_server_config: { ${PAIR}, client_allowed_sans: [a] }`, 'client_allowed_sans: no value, unless'],
    [`tls_server_config: { ${PAIR}, min_version: TLS10 }`, '"TLS10" is not allowed; allowed: TLS12 or TLS13'],
    [
      `tls_server_config: { ${PAIR}, min_version: TLS13, max_version: TLS12 }`,
      'min_version: TLS13 is not allowed; allowed: at most max_version',
    ],
    [`tls_server_config: { ${PAIR}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA] }`, 'one of TLS_ECDHE_ECDSA_WITH'],
    [`tls_server_config: { ${PAIR}, curve_preferences: [P256] }`, 'one of CurveP256'],
    [
      'http_server_config: { http2: true }',
      'http_server_config.http2: true is not allowed; allowed: false, or no value; HTTP/2',
    ],
    ['http_server_config: { headers: { X-Powered-By: a } }', 'headers.X-Powered-By: unknown key'],
    ['http_server_config: { headers: { X-Frame-Options: no } }', 'one of deny, sameorigin'],
    [
      'http_server_config: { headers: { X-XSS-Protection: "a\\r\\nSet-Cookie: b" } }',
      'printable characters on one line',
    ],
    [
      'rate_limit: { interval: 1s, burst: 20 }',
      'rate_limit: (hidden) is not allowed; allowed: no value; docs/api.md has the limits',
    ],
    ['basic_auth_users:', 'basic_auth_users: null is not allowed; allowed: a mapping'],
    ['basic_auth_users: { "": x }', 'basic_auth_users'],
    ['basic_auth_users: { "a:b": x }', 'a name without a colon'],
    [`basic_auth_users: { __proto__: ${HASH} }`, '__proto__'],
    [`basic_auth_users: { alice: ${HASH.replace('$10$', '$18$')} }`, 'a cost of at most 14; a cost of 18'],
    ['a: {b: ]', 'invalid YAML'],
  ])('%s is refused by name', async (text, words) => {
    await expect(parse(text)).rejects.toThrow(words);
  });

  it('no error shows a password, a hash or a key', async () => {
    const text = `{ basic_auth_users: { alice: secret-1 }, tls_server_config: { key: [secret-2], cert: 5 }, basic_auth_user: secret-3 }`;
    const { message } = (await parse(text).catch((error: Error) => error)) as Error;
    expect(message).toContain('basic_auth_users.alice: (hidden) is not allowed; allowed: a bcrypt hash');
    expect(message).not.toContain('secret-');
  });
});

describe('certificates', () => {
  let directory: string;
  let ca: CertificateAuthority;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'web-config-'));
    ca = new CertificateAuthority(directory);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const settings = async (tls: Record<string, unknown>) => {
    const { tls: config } = await parseWebConfig(JSON.stringify({ tls_server_config: tls }), directory, (path) =>
      readFile(path, 'utf8'),
    );
    if (config === undefined) throw new Error('no TLS');
    return tlsSettings(config, Date.now());
  };

  it('reports when it expires, and accepts every cipher suite and curve', async () => {
    const until = new Date(1_000 * Math.ceil(Date.now() / 1_000) + 3_600_000);
    const { cert, key } = ca.sign('good', { until });
    const { untilMs } = await settings({ cert_file: cert, key_file: key });
    expect(untilMs).toBe(until.getTime());
    const suites = ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA'];
    const curves = ['CurveP256', 'CurveP384', 'CurveP521', 'X25519'];
    await settings({ cert_file: cert, key_file: key, cipher_suites: suites, curve_preferences: curves });
  });

  it.each([
    [
      'has expired',
      () => ca.sign('old', { until: new Date(Date.now() - 1_000) }),
      /cert_file: a valid certificate; this one expired on 20/,
    ],
    [
      'is of tomorrow',
      () => ca.sign('early', { from: new Date(Date.now() + 3_600_000) }),
      /cert_file: a valid certificate; this one is not valid before 20/,
    ],
    [
      'belongs to another key',
      () => ({ cert: ca.sign('one').cert, key: ca.sign('two').key }),
      /key_file: the key of the certificate; this one belongs to another/,
    ],
    ['is none', () => ({ cert: ca.sign('three').key, key: ca.sign('four').key }), /cert_file: a certificate in PEM/],
    ['has no key', () => ({ cert: ca.sign('five').cert, key: ca.sign('six').cert }), /key_file: a private key in PEM/],
  ])('a certificate that %s is refused', async (_, make, words) => {
    const { cert, key } = make();
    await expect(settings({ cert_file: cert, key_file: key })).rejects.toThrow(words);
  });

  it('an authority that is not a certificate is refused', async () => {
    const { cert, key } = ca.sign('seven');
    const pair = { cert_file: cert, key_file: key, client_auth_type: 'RequireAndVerifyClientCert' };
    await expect(settings({ ...pair, client_ca_file: key })).rejects.toThrow(
      'client_ca_file: at least one certificate',
    );
    const broken = readFileSync(cert, 'utf8').replace(/\n..../, '\nAAAA');
    await expect(settings({ ...pair, client_ca: broken })).rejects.toThrow('client_ca_file: certificates in PEM');
  });

  it('the names of a certificate are parsed correctly, even if they imitate others', () => {
    const names = 'DNS:prometheus.example,DNS:evil,IP:10.0.0.1,email:a@b.c,URI:spiffe://shop/prometheus';
    const { cert } = ca.sign('names', { names });
    expect(subjectAltNames(new X509Certificate(readFileSync(cert)).subjectAltName ?? '')).toEqual([
      'prometheus.example',
      'evil',
      '10.0.0.1',
      'a@b.c',
      'spiffe://shop/prometheus',
    ]);
    expect(subjectAltNames('DNS:"evil, DNS:prometheus.example", DNS:b')).toEqual(['evil, DNS:prometheus.example', 'b']);
    expect(subjectAltNames('othername:<unsupported>, DNS:a')).toEqual(['a']);
    for (const odd of ['', 'DNS', 'DNS:"a', 'DNS:a, b', 'DNS:a;DNS:b"']) expect(subjectAltNames(odd)).toEqual([]);
  });
});
