import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { run, sh } from '../command.ts';
import { TestNetns, uniqueName } from '../hosts.ts';

/** Environment of the programs in the namespaces. It contains none of the test's own variables. */
const ENVIRONMENT = { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', LC_ALL: 'C' };

/** Maximum time until a device is ready. */
const READY_SECONDS = 60;

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  /** stdout and stderr, for error messages. */
  readonly output: string;
}

/** A namespace with one device `eth0`, like a Pod. */
export class LanHost implements Disposable {
  readonly role: string;
  readonly netns: TestNetns;
  readonly ipv4: string;
  /** Undefined if IPv6 is disabled in the namespace. */
  readonly ipv6: string | undefined;

  constructor(role: string, netns: TestNetns, ipv4: string, ipv6: string | undefined) {
    this.role = role;
    this.netns = netns;
    this.ipv4 = ipv4;
    this.ipv6 = ipv6;
  }

  get name(): string {
    return this.netns.name;
  }

  /** Returns the command line that runs a program in the namespace. */
  inside(...command: readonly string[]): [string, string[]] {
    return ['ip', ['netns', 'exec', this.name, ...command]];
  }

  /** Runs a program until it exits or times out. */
  run(command: readonly string[], timeoutMs = 60_000, env: NodeJS.ProcessEnv = {}): Promise<Finished> {
    const [program, args] = this.inside(...command);
    const child = spawn(program, args, {
      env: { ...ENVIRONMENT, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    const texts = { stdout: '', output: '' };
    child.stdout.on('data', (data) => {
      texts.stdout += String(data);
      texts.output += String(data);
    });
    child.stderr.on('data', (data) => {
      texts.output += String(data);
    });
    return new Promise((resolve) => {
      child.once('error', (error) => resolve({ code: -1, stdout: '', output: String(error) }));
      child.once('close', (code, signal) =>
        resolve({ ...texts, code: code ?? -1, output: `${texts.output}${signal ?? ''}` }),
      );
    });
  }

  [Symbol.dispose](): void {
    this.netns[Symbol.dispose]();
    rmSync(`/etc/netns/${this.name}`, { recursive: true, force: true });
  }
}

export interface JoinOptions {
  readonly ipv6?: boolean;
  /** Whether the host starts without an IPv4 address because it uses DHCP. */
  readonly unconfigured?: boolean;
}

/**
 * Namespaces that are connected by a bridge in a namespace of its own. The first host that joins is the name server of
 * all hosts.
 */
export class Lan implements Disposable {
  /** Prefix of the names of all namespaces. */
  readonly prefix = uniqueName('lan');
  /** The subnet depends on the PID, because the same test may run several times on this machine. */
  readonly subnet = `10.83.${process.pid % 256}`;
  readonly subnet6 = `fd83:${(process.pid % 65_536).toString(16)}:`;
  readonly bridge: TestNetns;
  /** Hosts that exist until the LAN is removed. */
  readonly hosts: LanHost[] = [];
  readonly #resources = new DisposableStack();
  #joined = 0;

  constructor() {
    this.bridge = this.#resources.use(new TestNetns(`${this.prefix}-bridge`));
    this.bridge.ip('link add br0 type bridge');
    this.bridge.ip('link set br0 up');
    this.bridge.ip('link set lo up');
  }

  get nameserver(): string {
    return `${this.subnet}.1`;
  }

  /** Adds a host that exists until the LAN is removed. */
  join(role: string, options: JoinOptions = {}): LanHost {
    const host = this.#resources.use(this.visit(role, options));
    this.hosts.push(host);
    return host;
  }

  /** Adds a host that is removed when disposed. Host numbers are never reused. */
  visit(role: string, { ipv6 = true, unconfigured = false }: JoinOptions = {}): LanHost {
    const number = ++this.#joined;
    // The IPv4 addresses 100 to 149 are for DHCP.
    const address = `${this.subnet}.${number < 100 ? number : 150 + ((number - 100) % 90)}`;
    const netns = new TestNetns(`${this.prefix}-${role}`);
    const host = new LanHost(role, netns, unconfigured ? '' : address, ipv6 ? `${this.subnet6}:${number}` : undefined);
    mkdirSync(`/etc/netns/${netns.name}`, { recursive: true });
    writeFileSync(`/etc/netns/${netns.name}/resolv.conf`, `nameserver ${this.nameserver}\n`);
    // IPv6 is disabled before the device exists, as the kubelet or an operator would do.
    if (!ipv6) netns.exec('sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1');
    netns.exec('sysctl -qw net.ipv4.ip_forward=0');
    this.#connect(host, number);
    return host;
  }

  #connect({ netns, ipv4, ipv6 }: LanHost, number: number): void {
    netns.ip('link set lo up');
    const port = `port${number}`;
    sh(`ip link add eth0 netns ${netns.name} type veth peer name ${port} netns ${this.bridge.name}`);
    this.bridge.ip(`link set ${port} master br0`);
    this.bridge.ip(`link set ${port} up`);
    if (ipv4 !== '') netns.ip(`addr add ${ipv4}/24 dev eth0`);
    if (ipv6 !== undefined) netns.ip(`addr add ${ipv6}/64 dev eth0 nodad`);
    netns.ip('link set eth0 up');
    // The kernel sets the carrier asynchronously, under a lock that other tests may hold for seconds. Until then, both
    // ends discard packets.
    waitFor(`bridge -n ${this.bridge.name} link show dev ${port} | grep -q 'state forwarding'`);
    waitFor(`ip -n ${netns.name} link show eth0 | grep -q 'state UP'`);
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}

/** @param condition shell command that succeeds when the condition holds */
function waitFor(condition: string): void {
  run('timeout', `${READY_SECONDS}`, 'sh', '-c', `until ${condition}; do sleep 0.05; done`);
}
