import { chownSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../command.ts';
import { makeCertificates } from './certificates.ts';
import type { Lan, LanHost } from './lan.ts';
import { makePackages, projectOf } from './packages.ts';
import { libraries, program } from './programs.ts';
import { Server } from './server.ts';

const REGISTRY = fileURLToPath(new URL('./registry_process.ts', import.meta.url));

const NOBODY = 65_534;

export const PACKAGES = 60;
export const REGISTRY_URL = 'https://registry.test:4873';
/** The web server's files, with their sizes in bytes. */
export const WEB_FILES: Readonly<Record<string, number>> = { small: 900, medium: 60_000, large: 1_000_000 };
/** Time after which the web server closes an idle connection. */
export const WEB_IDLE_SECONDS = 5;
export const ECHO_PORT = 7_000;

/** An echo server without an idle timeout. */
const ECHO = `
import socket, socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, address_family, request_queue_size = True, True, socket.AF_INET6, 128
server = Server(('::', ${ECHO_PORT}), Echo)
print('ready')
server.serve_forever()
`;

/** The servers of a LAN. Each has its own namespace, and a DNS name below `test`. */
export interface Servers extends AsyncDisposable {
  readonly hosts: Readonly<Record<'dns' | 'registry' | 'web' | 'db' | 'cache' | 'echo', LanHost>>;
  readonly registry: Server;
  /** Path of the certificate authority's certificate. */
  readonly ca: string;
  /** Directory of the servers' sockets and files. */
  readonly folder: string;
}

/** @param folder an existing directory for the servers' files */
export async function startServers(lan: Lan, folder: string): Promise<Servers> {
  await using resources = new AsyncDisposableStack();
  // The DNS server must join first, because all hosts use the first one as their name server.
  const dns = lan.join('dns');
  const [registry, web, db, cache, echo] = ['registry', 'web', 'db', 'cache', 'echo'].map((role) => lan.join(role)) as [
    LanHost,
    LanHost,
    LanHost,
    LanHost,
    LanHost,
  ];
  const hosts = { dns, registry, web, db, cache, echo };
  const certificates = makeCertificates(folder, ['registry.test', 'web.test']);
  const { ca, key, certificate } = certificates;
  const use = async (server: Promise<Server>) => resources.use(await server);
  const starting = await Promise.all([
    use(
      Server.start(
        registry,
        [process.execPath, REGISTRY, key, certificate, String(PACKAGES), REGISTRY_URL],
        /"connections"/,
      ),
    ),
    use(startDns(dns, lan, hosts, folder)),
    use(startWeb(web, key, certificate, folder)),
    use(startDatabase(db, folder)),
    use(startCache(cache, folder)),
    use(Server.start(echo, ['python3', '-u', '-c', ECHO], /ready/)),
  ]);
  writeProject(folder);
  const owned = resources.move();
  return {
    hosts,
    registry: starting[0],
    ca,
    folder,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function startDns(host: LanHost, lan: Lan, hosts: Servers['hosts'], folder: string): Promise<Server> {
  const records = Object.entries(hosts).map(([role, { ipv4, ipv6 }]) => `--host-record=${role}.test,${ipv4},${ipv6}`);
  const leases = [
    `--dhcp-range=${lan.subnet}.100,${lan.subnet}.149,255.255.255.0,1h`,
    `--dhcp-leasefile=${join(folder, 'leases')}`,
  ];
  // By default, dnsmasq pings an address before leasing it. Such pings remain unanswered, so they are disabled.
  const quiet = ['--no-ping', '--dhcp-authoritative', '--pid-file=', '--user=root', '--log-facility=-'];
  const own = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--local=/test/'];
  return Server.start(host, [program('dnsmasq'), ...own, ...quiet, ...leases, ...records], /DHCP, IP range/);
}

function startWeb(host: LanHost, key: string, certificate: string, folder: string): Promise<Server> {
  const prefix = join(folder, 'web');
  mkdirSync(join(prefix, 'files'), { recursive: true });
  for (const [name, bytes] of Object.entries(WEB_FILES))
    writeFileSync(join(prefix, 'files', name), Buffer.alloc(bytes, name));
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${prefix}/${kind};`,
  );
  const configuration = `
    daemon off; user root; worker_processes 1; pid ${prefix}/pid; error_log stderr warn;
    events { worker_connections 512; }
    http {
      access_log off; ${paths.join(' ')}
      keepalive_timeout ${WEB_IDLE_SECONDS}s;
      server {
        listen 80; listen [::]:80; listen 443 ssl; listen [::]:443 ssl;
        ssl_certificate ${certificate}; ssl_certificate_key ${key};
        root ${prefix}/files;
      }
    }`;
  const file = join(prefix, 'nginx.conf');
  writeFileSync(file, configuration);
  const pid = join(prefix, 'pid');
  const command = [program('nginx'), '-p', prefix, '-c', file, '-e', 'stderr'];
  return Server.start(host, command, () => existsSync(pid) && readFileSync(pid, 'utf8') !== '');
}

async function startDatabase(host: LanHost, folder: string): Promise<Server> {
  const data = join(folder, 'db');
  mkdirSync(data);
  chownSync(data, NOBODY, NOBODY);
  // PostgreSQL refuses to run as root.
  const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  const unix = ['-c', `unix_socket_directories=${data}`];
  run(
    'env',
    `LD_LIBRARY_PATH=${libraries()['LD_LIBRARY_PATH']}`,
    ...asNobody,
    program('initdb'),
    '-D',
    data,
    '-A',
    'trust',
    '-U',
    'lan',
    '--no-sync',
  );
  writeFileSync(
    join(data, 'pg_hba.conf'),
    'local all all trust\nhost all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n',
  );
  const settings = ['-c', 'listen_addresses=*', '-c', 'fsync=off', '-c', 'max_connections=60', ...unix];
  const command = [...asNobody, program('postgres'), '-D', data, ...settings];
  const server = await Server.start(host, command, /ready to accept connections/);
  const { code, output } = await host.run(
    [program('pgbench'), '-h', data, '-U', 'lan', '-i', '-q', 'postgres'],
    60_000,
    libraries(),
  );
  if (code === 0) return server;
  await server[Symbol.asyncDispose]();
  throw new Error(`pgbench could not make its tables: ${output}`);
}

function startCache(host: LanHost, folder: string): Promise<Server> {
  // All Redis programs are the same binary, which acts according to its name. The link replaces the package
  // redis-server, because installing that package would start a server.
  const server = join(folder, 'redis-server');
  symlinkSync(program('redis-check-rdb'), server);
  const options = ['--bind', '*', '-::*', '--protected-mode', 'no', '--save', '', '--dir', folder];
  return Server.start(host, [server, ...options], /Ready to accept connections/);
}

function writeProject(folder: string): void {
  const { manifest, lock } = projectOf(makePackages(PACKAGES), REGISTRY_URL);
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(lock));
}
