import { execFile } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeCertificates } from '../support/lan/certificates.ts';
import { libraries, program } from '../support/lan/programs.ts';
import { Postgres } from './apps/postgres.ts';
import { NGINX_LOG } from './log_counts.ts';
import { clusterRecords, outsideRecords } from './network.ts';
import { PAYMENTS_NAME, WORKLOADS } from './plan.ts';
import type { Pod } from './pod.ts';

const APPS = fileURLToPath(new URL('./apps/main.ts', import.meta.url));
const NOBODY = 65_534;
const PRODUCTS = 200;
/** Options for small heaps and few threads, because many of these programs run at the same time and do little work. */
const SMALL = ['--max-old-space-size=64', '--max-semi-space-size=1', '--single-threaded-gc', '--v8-pool-size=1'];

const SCHEMA = `
CREATE TABLE products (id int PRIMARY KEY, name text);
INSERT INTO products SELECT n, 'product ' || n FROM generate_series(1, ${PRODUCTS}) n;
CREATE TABLE orders (id serial PRIMARY KEY, what text, sent boolean DEFAULT false);
`;

/** Creates the files of the servers, and starts them. */
export class Engines {
  readonly #folder: string;
  readonly ca: string;
  readonly #key: string;
  readonly #certificate: string;
  #prepared: Promise<unknown> = Promise.resolve();

  /** @param folder existing directory that every user can access */
  constructor(folder: string) {
    this.#folder = folder;
    ({ ca: this.ca, key: this.#key, certificate: this.#certificate } = makeCertificates(folder, [PAYMENTS_NAME]));
  }

  /** Starts creating the files of the database, which takes a second. Other steps can run at the same time. */
  prepare(): void {
    const data = this.#data;
    mkdirSync(data);
    chownSync(data, NOBODY, NOBODY);
    const [command = '', ...args] = [...asNobody(), program('initdb'), '-D', data, '-A', 'trust', '-U', 'shop'];
    const env = { ...process.env, ...libraries() };
    this.#prepared = promisify(execFile)(command, [...args, '--no-sync', '--locale=C', '--encoding=UTF8'], { env });
  }

  get #data(): string {
    return join(this.#folder, 'postgres');
  }

  startApp(pod: Pod, name: string, env: NodeJS.ProcessEnv = {}): Promise<void> {
    return pod.start([process.execPath, ...SMALL, APPS, name], undefined, { SHOP_CA: this.ca, ...env });
  }

  startClusterDns(pod: Pod): Promise<void> {
    return this.#startDns(pod, clusterRecords(WORKLOADS));
  }

  startOutsideDns(pod: Pod): Promise<void> {
    return this.#startDns(pod, outsideRecords());
  }

  #startDns(pod: Pod, records: readonly string[]): Promise<void> {
    const quiet = ['--pid-file=', '--user=root', '--log-facility=-', '--keep-in-foreground'];
    const own = ['--conf-file=/dev/null', '--no-resolv', '--no-hosts'];
    return pod.start([program('dnsmasq'), ...own, ...quiet, ...records], /started, version/);
  }

  async startPostgres(pod: Pod): Promise<void> {
    await this.#prepared;
    const data = this.#data;
    writeFileSync(join(data, 'pg_hba.conf'), 'local all all trust\nhost all all 0.0.0.0/0 trust\n');
    const settings = {
      listen_addresses: '0.0.0.0',
      unix_socket_directories: data,
      fsync: 'off',
      max_connections: '60',
      autovacuum: 'off',
      dynamic_shared_memory_type: 'mmap',
      log_connections: 'on',
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const command = [...asNobody(), program('postgres'), '-D', data, ...options];
    await pod.start(command, /ready to accept connections/, libraries());
    const client = this.#client();
    await client.query(SCHEMA);
    client.close();
  }

  /** Connects to the database over its Unix socket. */
  #client(): Postgres {
    return new Postgres({ path: join(this.#data, '.s.PGSQL.5432') });
  }

  startRedis(pod: Pod): Promise<void> {
    // All Redis programs are the same binary, which acts according to its name.
    const server = join(this.#folder, 'redis-server');
    symlinkSync(program('redis-check-rdb'), server);
    const options = ['--bind', '0.0.0.0', '--protected-mode', 'no', '--save', '', '--loglevel', 'verbose'];
    return pod.start([server, ...options, '--dir', this.#folder], /Ready to accept connections/, libraries());
  }

  /** Starts the shop's gateway. */
  startGateway(pod: Pod): Promise<void> {
    return this.#startNginx(
      pod,
      `proxy_connect_timeout 3s;
      server {
        listen 8080;
        location / { proxy_pass http://storefront.shop.svc.cluster.local; }
        location /pay { proxy_pass http://checkout.shop.svc.cluster.local; }
      }`,
    );
  }

  startPayments(pod: Pod): Promise<void> {
    return this.#startNginx(
      pod,
      `server {
        listen 443 ssl;
        ssl_certificate ${this.#certificate}; ssl_certificate_key ${this.#key};
        location / { return 200 "paid"; }
      }`,
    );
  }

  #startNginx(pod: Pod, servers: string): Promise<void> {
    const prefix = join(this.#folder, `nginx-${pod.uid}`);
    mkdirSync(prefix);
    const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const paths = kinds.map((kind) => `${kind}_temp_path ${prefix}/${kind};`);
    const pid = join(prefix, 'pid');
    writeFileSync(
      join(prefix, 'nginx.conf'),
      `daemon off; user root; worker_processes 1; pid ${pid}; error_log stderr warn;
      events { worker_connections 256; }
      http { ${paths.join(' ')} log_format shop escape=json '${NGINX_LOG}'; access_log /dev/stdout shop; ${servers} }`,
    );
    // The program's output is a socket, because Node.js uses one, and nginx cannot open a socket as /dev/stdout. With
    // `cat`, nginx writes to a pipe.
    const command = [
      'sh',
      '-c',
      '"$@" | cat',
      'sh',
      program('nginx'),
      '-p',
      prefix,
      '-c',
      join(prefix, 'nginx.conf'),
      '-e',
      'stderr',
    ];
    return pod.start(command, () => existsSync(pid) && readFileSync(pid, 'utf8') !== '');
  }
}

function asNobody(): string[] {
  // PostgreSQL refuses to run as root.
  return ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
}

/** Creates a directory that every user can access. */
export function openFolder(path: string): void {
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o755);
}
