import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CertificateOptions {
  /** Subject alternative names in OpenSSL's notation, such as `DNS:node,IP:127.0.0.1`. */
  readonly names?: string;
  readonly from?: Date;
  readonly until?: Date;
}

const DAY_MS = 86_400_000;

/** Renders a time as `YYYYMMDDHHMMSSZ`. */
const time = (date: Date) => `${date.toISOString().replace(/\D/g, '').slice(0, 14)}Z`;

/**
 * A certificate authority in a directory. It can sign certificates for any validity period. With `openssl x509`, the
 * period always starts at the current time.
 */
export class CertificateAuthority {
  readonly #folder: string;
  readonly #name: string;
  /** Path of the authority's own certificate. */
  readonly certificate: string;

  /** @param name base name of the authority's files, and its subject */
  constructor(folder: string, name = 'ca') {
    this.#folder = folder;
    this.#name = name;
    this.certificate = this.#path(`${name}.crt`);
    writeFileSync(this.#path(`${name}.index`), '');
    const config = [
      '[ca]',
      'default_ca = own',
      '[own]',
      `new_certs_dir = ${folder}`,
      `database = ${this.#path(`${name}.index`)}`,
      `certificate = ${this.certificate}`,
      `private_key = ${this.#path(`${name}.key`)}`,
      'rand_serial = yes',
      'unique_subject = no',
      'default_md = sha256',
      'policy = any',
      '[any]',
      'commonName = supplied',
    ];
    writeFileSync(this.#path(`${name}.conf`), config.join('\n'));
    this.#openssl(
      'req',
      '-x509',
      ...this.#newKey(name),
      '-out',
      this.certificate,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    );
  }

  /** Signs a certificate for a new key. @returns the paths of the certificate and the key */
  sign(name: string, options: CertificateOptions = {}): { readonly cert: string; readonly key: string } {
    const { names = 'DNS:localhost,IP:127.0.0.1' } = options;
    const { from = new Date(Date.now() - DAY_MS), until = new Date(Date.now() + DAY_MS) } = options;
    const [request, cert, extensions] = [`${name}.csr`, `${name}.crt`, `${name}.ext`].map((file) => this.#path(file));
    writeFileSync(extensions as string, `subjectAltName=${names}\n`);
    this.#openssl('req', '-new', ...this.#newKey(name), '-out', request as string, '-subj', `/CN=${name}`);
    const files = ['-in', request, '-out', cert, '-extfile', extensions] as string[];
    const config = ['-config', this.#path(`${this.#name}.conf`), '-batch', '-notext'];
    this.#openssl('ca', ...config, '-startdate', time(from), '-enddate', time(until), ...files);
    return { cert: cert as string, key: this.#path(`${name}.key`) };
  }

  #newKey(name: string): string[] {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    return [...curve, '-keyout', this.#path(`${name}.key`)];
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  }
}
