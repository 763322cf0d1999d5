import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../command.ts';

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  readonly key: string;
  readonly certificate: string;
}

/** Creates a certificate authority and a certificate for these names in a directory. */
export function makeCertificates(folder: string, names: readonly string[]): Certificates {
  const path = (name: string) => join(folder, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const [ca, key, certificate] = [path('ca.crt'), path('tls.key'), path('tls.crt')];
  run('openssl', 'req', '-x509', ...newKey, '-keyout', path('ca.key'), '-out', ca, '-days', '2', '-subj', '/CN=lan-ca');
  run('openssl', 'req', ...newKey, '-keyout', key, '-out', path('tls.csr'), '-subj', '/CN=lan');
  writeFileSync(path('names'), `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\n`);
  const signed = ['-CA', ca, '-CAkey', path('ca.key'), '-CAcreateserial', '-days', '2', '-extfile', path('names')];
  run('openssl', 'x509', '-req', '-in', path('tls.csr'), '-out', certificate, ...signed);
  return { ca, key, certificate };
}
