import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface HostileCertificate {
  /** File name without its extension. */
  readonly name: string;
  readonly commonName?: string;
  /** Names of the extension subjectAltName, as they are. */
  readonly dnsNames: readonly string[];
  /** Whether the certificate is its own issuer, and not the authority of the folder. */
  readonly isSelfSigned?: boolean;
}

const DNS_NAME = 0x82;
const SEQUENCE = 0x30;

/** Returns an element in DER. */
function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const long = Buffer.from(length.toString(16).padStart(6, '0'), 'hex');
  return Buffer.concat([
    Buffer.from([tag]),
    length < 0x80 ? Buffer.from([length]) : Buffer.from([0x83, ...long]),
    content,
  ]);
}

/** Makes a certificate with any bytes in its names. @param folder directory with `ca.crt` and `ca.key` */
export function certify(
  folder: string,
  { name, commonName = 'web', dnsNames, isSelfSigned = false }: HostileCertificate,
): void {
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const names = element(SEQUENCE, Buffer.concat(dnsNames.map((one) => element(DNS_NAME, Buffer.from(one)))));
  writeFileSync(join(folder, 'ext'), `subjectAltName=DER:${names.toString('hex').replace(/..(?!$)/g, '$&:')}`);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-utf8'];
  openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${commonName}`);
  const issuer = isSelfSigned ? ['-key', `${name}.key`] : ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
  openssl('x509', '-req', '-in', `${name}.csr`, ...issuer, '-extfile', 'ext', '-days', '2', '-out', `${name}.crt`);
}
