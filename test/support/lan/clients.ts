import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { churn } from './churn.ts';
import type { Finished, Lan, LanHost } from './lan.ts';
import { libraries, npm, program } from './programs.ts';
import { ECHO_PORT, PACKAGES, REGISTRY_URL, type Servers, WEB_FILES, WEB_IDLE_SECONDS } from './servers.ts';
import type { Activity } from './traffic.ts';

/** Seconds for which idle connections remain idle. */
const IDLE_SECONDS = 10;
const LARGE_PING = 4_000;

/** Script that udhcpc runs to set and remove the address. */
const LEASE_SCRIPT = `#!/bin/sh
case $1 in
bound) ip addr replace $ip/$mask dev $interface; echo "lease $ip" ;;
deconfig) ip -4 addr flush dev $interface ;;
esac
`;

/** Opens connections with TCP keepalives, and leaves them idle for a while before it uses them again. */
const IDLE = `
import socket, sys, time
made = []
for family, kind, protocol, _, address in socket.getaddrinfo('echo.test', ${ECHO_PORT}, type=socket.SOCK_STREAM) * 2:
    s = socket.socket(family, kind, protocol)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    try: s.connect(address)
    except OSError as error:
        if family != socket.AF_INET6: raise
        continue
    made.append(s)
time.sleep(${IDLE_SECONDS})
for s in made:
    s.sendall(b'x' * 1000)
    left = 1000
    while left: left -= len(s.recv(left)) or sys.exit('closed')
    s.close()
print('idle', len(made))
`;

/** Leaves a keep-alive connection idle until the web server closes it. */
const CLOSED_BY_SERVER = `
import http.client
c = http.client.HTTPConnection('web.test', timeout=${WEB_IDLE_SECONDS + 20})
c.request('GET', '/small'); body = c.getresponse().read()
assert c.sock.recv(1) == b''
c.close()
print('closed', len(body))
`;

interface Recipe {
  readonly app: string;
  /** Number of namespaces that run this client in a LAN with forty client namespaces. */
  readonly clients: number;
  readonly pauseMs: number;
  readonly unconfigured?: boolean;
  readonly make: (host: LanHost, servers: Servers, index: number) => Activity['run'];
}

const RECIPES: readonly Recipe[] = [
  { app: 'npm', clients: 4, pauseMs: 30_000, make: installPackages },
  { app: 'web', clients: 7, pauseMs: 4_000, make: fetchFiles },
  { app: 'web, closed by the server', clients: 1, pauseMs: 2_000, make: beClosed },
  { app: 'web, a burst', clients: 1, pauseMs: 20_000, make: burst },
  { app: 'PostgreSQL', clients: 5, pauseMs: 5_000, make: queryDatabase },
  { app: 'redis', clients: 4, pauseMs: 5_000, make: askCache },
  { app: 'ping', clients: 3, pauseMs: 2_000, make: ping },
  { app: 'DNS', clients: 2, pauseMs: 1_000, make: lookUp },
  { app: 'DHCP', clients: 2, pauseMs: 5_000, unconfigured: true, make: lease },
  { app: 'idle', clients: 1, pauseMs: 1_000, make: idle },
];

/** Number of client namespaces in a complete LAN. */
export const CLIENTS = RECIPES.reduce((sum, { clients }) => sum + clients, 0);

/**
 * Creates the clients of a LAN, each in its own namespace. Every second namespace has no IPv6. Additional namespaces
 * are created and removed while the clients run.
 * @param share fraction of the clients of each kind to create; at least one client of each kind is created
 */
export function makeActivities(lan: Lan, servers: Servers, share: number): Activity[] {
  let made = 0;
  const activities = RECIPES.flatMap(({ app, clients, pauseMs, unconfigured = false, make }) =>
    Array.from({ length: Math.max(1, Math.round(clients * share)) }, (_, index) => {
      const host = lan.join(`${make.name}-${index}`, { ipv6: made++ % 2 === 0, unconfigured });
      return { app, where: host.name, pauseMs, run: make(host, servers, index) };
    }),
  );
  return [...activities, churn(lan)];
}

function installPackages(host: LanHost, { ca, folder }: Servers, index: number): Activity['run'] {
  const home = join(folder, `npm-${index}`);
  const env = {
    ...Object.fromEntries(
      ['userconfig', 'globalconfig'].map((name) => [`npm_config_${name}`, `${home}/none-of-${name}`]),
    ),
    npm_config_registry: REGISTRY_URL,
    npm_config_cafile: ca,
    npm_config_cache: join(home, 'cache'),
    // npm must not retry, because that would hide failures.
    npm_config_fetch_retries: '0',
    npm_config_update_notifier: 'false',
    NODE_OPTIONS: '',
  };
  let runs = index;
  return async () => {
    rmSync(home, { recursive: true, force: true });
    mkdirSync(home, { recursive: true });
    copyFileSync(join(folder, 'package.json'), join(home, 'package.json'));
    const isLocked = runs++ % 2 === 0;
    if (isLocked) copyFileSync(join(folder, 'package-lock.json'), join(home, 'package-lock.json'));
    const what = [isLocked ? 'ci' : 'install', '--no-audit', '--no-fund', '--prefix', home];
    const { code, output } = await host.run([...npm(), ...what], 120_000, env);
    if (code !== 0 || !output.includes(`added ${PACKAGES} packages`))
      throw new Error(`npm ${what[0]}: ${code} ${output}`);
    return { requests: isLocked ? PACKAGES : 2 * PACKAGES };
  };
}

function fetchFiles(host: LanHost, { ca }: Servers, index: number): Activity['run'] {
  const each = ['-w', '%{num_connects} %{size_download}\\n', '-sS', '--fail', '--max-time', '60', '--cacert', ca];
  const names = Object.keys(WEB_FILES).join(',');
  const expected = Object.values(WEB_FILES).reduce((sum, bytes) => sum + bytes, 0);
  // The variants are keep-alive, a new connection per request, parallel transfers, and each IP version.
  const ways = [[], ['-H', 'connection: close'], ['--parallel'], ['-4'], host.ipv6 === undefined ? [] : ['-6']];
  let runs = index;
  return async () => {
    const scheme = runs % 3 === 0 ? 'https' : 'http';
    const way = ways[runs++ % ways.length] ?? [];
    const url = `${scheme}://web.test/{${names}}?[1-3]`;
    const finished = await host.run([program('curl'), ...each, ...way, url, '-o', '/dev/null']);
    return countTransfers(finished, 9, 3 * expected);
  };
}

/** @throws if the output does not show exactly this number of transfers and bytes */
function countTransfers(
  { code, stdout, output }: Finished,
  transfers: number,
  bytes: number,
): Awaited<ReturnType<Activity['run']>> {
  const rows = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ').map(Number));
  const sum = (column: number) => rows.reduce((total, row) => total + (row[column] ?? 0), 0);
  if (code !== 0 || rows.length !== transfers || sum(1) !== bytes) {
    throw new Error(`curl: ${code}, ${rows.length} transfers, ${sum(1)} bytes: ${output.slice(0, 1_000)}`);
  }
  return { connections: sum(0), requests: transfers, bytes };
}

function beClosed(host: LanHost): Activity['run'] {
  return async () => {
    const { code, output } = await host.run(['python3', '-c', CLOSED_BY_SERVER]);
    if (code !== 0 || output.trim() !== `closed ${WEB_FILES['small']}`)
      throw new Error(`http.client: ${code} ${output}`);
    return { connections: 1, requests: 1, bytes: WEB_FILES['small'] ?? 0 };
  };
}

/** Sends many small requests over few connections. */
function burst(host: LanHost): Activity['run'] {
  return async () => {
    const command = [
      program('curl'),
      '-sS',
      '--fail',
      '--parallel',
      '--parallel-max',
      '8',
      '-w',
      '%{num_connects} %{size_download}\\n',
    ];
    const finished = await host.run([...command, 'http://web.test/small?[1-1000]', '-o', '/dev/null']);
    return countTransfers(finished, 1_000, 1_000 * (WEB_FILES['small'] ?? 0));
  };
}

function queryDatabase(host: LanHost, _: Servers, index: number): Activity['run'] {
  // The variants are one connection per client, one connection per transaction, and prepared read-only statements.
  const ways = [[], ['-C', '-S'], ['-S', '-M', 'prepared']];
  let runs = index;
  return async () => {
    const way = ways[runs++ % ways.length] ?? [];
    const load = ['-n', '-c', '2', '-R', '20', '-T', '5', ...way];
    const command = [program('pgbench'), '-h', 'db.test', '-U', 'lan', ...load, 'postgres'];
    const { code, output } = await host.run(command, 60_000, libraries());
    const transactions = Number(/actually processed: (\d+)/.exec(output)?.[1] ?? 0);
    const failed = /failed transactions: (\d+)/.exec(output)?.[1];
    if (code !== 0 || transactions === 0 || failed !== '0')
      throw new Error(`pgbench ${way.join(' ')}: ${code} ${output}`);
    return { connections: way.includes('-C') ? transactions : 2, requests: transactions };
  };
}

function askCache(host: LanHost, _: Servers, index: number): Activity['run'] {
  let runs = index;
  return async () => {
    const keep = runs++ % 2;
    const command = [
      program('redis-benchmark'),
      '-h',
      'cache.test',
      '-n',
      '100',
      '-c',
      '4',
      '-d',
      '512',
      '-k',
      `${keep}`,
    ];
    const { code, output } = await host.run([...command, '-t', 'set,get,lpush,mset', '--csv']);
    const rows = output.split('\n').filter((line) => /^"(SET|GET|LPUSH|MSET)/.test(line));
    if (code !== 0 || rows.length !== 4 || /error/i.test(output)) throw new Error(`redis-benchmark: ${code} ${output}`);
    return { connections: keep === 1 ? 4 * rows.length : 100 * rows.length, requests: 100 * rows.length };
  };
}

function ping(host: LanHost, { hosts }: Servers, index: number): Activity['run'] {
  const targets = Object.values(hosts).flatMap(({ ipv4, ipv6 }) =>
    host.ipv6 === undefined || ipv6 === undefined ? [ipv4] : [ipv4, ipv6],
  );
  let runs = index;
  return async () => {
    const target = targets[runs++ % targets.length] ?? '';
    const bytes = runs % 3 === 0 ? LARGE_PING : 56;
    const { code, output } = await host.run(['busybox', 'ping', '-c', '5', '-i', '0.2', '-s', `${bytes}`, target]);
    if (code !== 0 || !output.includes(' 5 packets received')) throw new Error(`ping ${target}: ${code} ${output}`);
    return { requests: 5, bytes: 5 * bytes };
  };
}

function lookUp(host: LanHost, { hosts }: Servers, index: number): Activity['run'] {
  const known = Object.entries(hosts);
  let runs = index;
  return async () => {
    const [role, { ipv4 }] = known[runs++ % known.length] ?? ['', { ipv4: '' }];
    const found = await host.run(
      runs % 2 === 0 ? ['getent', 'ahosts', `${role}.test`] : ['busybox', 'nslookup', `${role}.test`],
    );
    if (found.code !== 0 || !found.output.includes(ipv4))
      throw new Error(`${role}.test: ${found.code} ${found.output}`);
    const missing = await host.run(['getent', 'ahosts', 'nobody.test']);
    if (missing.code !== 2) throw new Error(`nobody.test: ${missing.code} ${missing.output}`);
    return { requests: 2 };
  };
}

function lease(host: LanHost, { folder, hosts }: Servers, index: number): Activity['run'] {
  const script = join(folder, `lease-${index}.sh`);
  writeFileSync(script, LEASE_SCRIPT, { mode: 0o755 });
  let runs = index;
  return async () => {
    const release = runs++ % 2 === 0 ? ['-R'] : [];
    const given = await host.run(['busybox', 'udhcpc', '-i', 'eth0', '-f', '-q', '-n', ...release, '-s', script]);
    if (given.code !== 0 || !given.output.includes('lease 10.'))
      throw new Error(`udhcpc: ${given.code} ${given.output}`);
    if (release.length > 0) return { requests: 1 };
    const { code, output } = await host.run(['busybox', 'ping', '-c', '2', '-i', '0.2', hosts.dns.ipv4]);
    host.netns.ip('addr flush dev eth0 scope global');
    if (code !== 0) throw new Error(`ping with a lease: ${output}`);
    return { requests: 1 };
  };
}

function idle(host: LanHost): Activity['run'] {
  return async () => {
    const { code, output } = await host.run(['python3', '-c', IDLE]);
    const connections = Number(/^idle (\d+)$/m.exec(output)?.[1] ?? 0);
    if (code !== 0 || connections < 2) throw new Error(`idle connections: ${code} ${output}`);
    return { connections, requests: connections, bytes: 1_000 * connections };
  };
}
