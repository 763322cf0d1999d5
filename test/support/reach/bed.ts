import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, sh } from '../command.ts';
import { TestNetns } from '../hosts.ts';

const SERVERS = fileURLToPath(new URL('./servers.py', import.meta.url));
const RESOLVER = '/etc/netns';

export const CLIENT = '10.230.1.2';
export const SERVER = '10.230.2.2';
export const SERVER6 = 'fd30:2::2';

/** Names of the namespaces of the bed: the client, the routers of its node and of the server's node, and the server. */
export type Host = 'a' | 'r' | 'q' | 'b';

/**
 * A client and a server with two routers between them, as on two nodes: a (10.230.1.2) – r – q – b (10.230.2.2). The
 * names resolve through the server of the far end, with the search list of a Pod.
 */
export class ReachBed implements AsyncDisposable {
  readonly hosts: Readonly<Record<Host, TestNetns>>;
  readonly folder = mkdtempSync(join(tmpdir(), 'reach-'));
  #resources: AsyncDisposableStack;

  private constructor(resources: AsyncDisposableStack) {
    this.hosts = {
      a: resources.use(new TestNetns()),
      r: resources.use(new TestNetns()),
      q: resources.use(new TestNetns()),
      b: resources.use(new TestNetns()),
    };
    this.#resources = resources;
  }

  static async open(): Promise<ReachBed> {
    await using resources = new AsyncDisposableStack();
    const bed = new ReachBed(resources);
    resources.defer(() => rmSync(bed.folder, { recursive: true }));
    bed.#wire();
    bed.#certify();
    resources.defer(() => rmSync(join(RESOLVER, bed.hosts.a.name), { recursive: true, force: true }));
    bed.resolver(`nameserver ${SERVER}\nsearch shop.svc.test svc.test test\noptions ndots:5 timeout:1 attempts:2\n`);
    resources.use(await bed.#serve());
    bed.#resources = resources.move();
    return bed;
  }

  /** Certificate of the authority that the client trusts. */
  get authority(): string {
    return join(this.folder, 'ca.crt');
  }

  /** Replaces the resolver configuration of the client. */
  resolver(text: string): void {
    const folder = join(RESOLVER, this.hosts.a.name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'resolv.conf'), text);
  }

  /** Runs a command line of bash in a namespace. */
  exec(host: Host, line: string): string {
    return run('ip', 'netns', 'exec', this.hosts[host].name, 'bash', '-c', line);
  }

  /** Adds a rule to a chain of the namespace's own table. */
  rule(host: Host, hook: string, rule: string, family = 'inet'): void {
    const type = ['prerouting', 'postrouting'].includes(hook) && /\b[ds]nat\b/.test(rule) ? 'nat' : 'filter';
    const priority = type === 'nat' ? (hook === 'prerouting' ? -100 : 100) : 0;
    this.exec(
      host,
      `nft -f - <<'END'
table ${family} t { chain ${hook}_${type} { type ${type} hook ${hook} priority ${priority}; ${rule} ; } ; }
END`,
    );
  }

  #wire(): void {
    const { a, r, q, b } = this.hosts;
    const link = (left: TestNetns, leftDevice: string, right: TestNetns, rightDevice: string) =>
      sh(`ip link add ${leftDevice} netns ${left.name} type veth peer name ${rightDevice} netns ${right.name}`);
    link(a, 'eth0', r, 'pod');
    link(r, 'out', q, 'out');
    link(q, 'pod', b, 'eth0');
    const address = (netns: TestNetns, device: string, net: number, host: number) => {
      netns.ip(`addr add 10.230.${net}.${host}/24 dev ${device}`);
      netns.ip(`addr add fd30:${net}::${host}/64 dev ${device} nodad`);
      netns.ip(`link set ${device} up`);
    };
    for (const netns of [a, r, q, b]) {
      netns.ip('link set lo up');
      netns.exec('sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=0');
    }
    address(a, 'eth0', 1, 2);
    address(r, 'pod', 1, 1);
    address(r, 'out', 3, 1);
    address(q, 'out', 3, 2);
    address(q, 'pod', 2, 1);
    address(b, 'eth0', 2, 2);
    for (const netns of [r, q]) netns.exec('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
    a.ip('route add default via 10.230.1.1');
    a.ip('-6 route add default via fd30:1::1');
    r.ip('route add 10.230.2.0/24 via 10.230.3.2');
    r.ip('-6 route add fd30:2::/64 via fd30:3::2');
    q.ip('route add 10.230.1.0/24 via 10.230.3.1');
    q.ip('-6 route add fd30:1::/64 via fd30:3::1');
    b.ip('route add default via 10.230.2.1');
    b.ip('-6 route add default via fd30:2::1');
    for (const to of [SERVER, SERVER6]) a.exec(`ping -qc 1 -w 10 ${to}`);
  }

  /** Makes certificates: `good` for web.shop, `other`, `expired`, and `unknown`, whose issuer nobody trusts. */
  #certify(): void {
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: this.folder, stdio: 'pipe' });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=test-ca');
    const names = 'subjectAltName=DNS:web.shop.svc.test,DNS:web,DNS:web.shop';
    const self = ['-subj', '/CN=web', '-addext', names];
    openssl('req', '-x509', ...key, '-keyout', 'unknown.key', '-out', 'unknown.crt', '-days', '2', ...self);
    const sign = (name: string, extension: string, ...dates: string[]) => {
      openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', '/CN=web');
      writeFileSync(join(this.folder, 'ext'), extension);
      const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'ext', ...dates];
      openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, ...signed);
    };
    sign('good', names, '-days', '2');
    sign('other', 'subjectAltName=DNS:other.test', '-days', '2');
    sign('expired', names, '-days', '-1');
  }

  async #serve(): Promise<AsyncDisposable> {
    const { name } = this.hosts.b;
    const child = spawn('ip', ['netns', 'exec', name, 'python3', '-u', SERVERS, this.folder, SERVER], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    const outcome = await Promise.race([
      new Promise((resolve) => child.stdout.once('data', () => resolve('ready'))),
      gone.then((code) => `the servers ended with ${code}`),
    ]);
    if (outcome !== 'ready') throw new Error(String(outcome));
    return {
      [Symbol.asyncDispose]: async () => {
        child.kill('SIGKILL');
        await gone;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
