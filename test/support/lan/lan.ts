import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { run, sh } from '../command.ts';
import { TestNetns, uniqueName } from '../hosts.ts';

/** Environment of the programs in the namespaces: none of the test's own settings reaches them. */
const ENVIRONMENT = { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', LC_ALL: 'C' };

/** A device that is not ready by then never will be. */
const READY_SECONDS = 60;

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  /** Both outputs, to be read by people. */
  readonly output: string;
}

/** A namespace with one device, `eth0`, as a Pod has it. */
export class LanHost implements Disposable {
  readonly role: string;
  readonly netns: TestNetns;
  readonly ipv4: string;
  /** Undefined where the namespace has IPv6 switched off. */
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

  /** Command line that runs a program inside. */
  inside(...command: readonly string[]): [string, string[]] {
    return ['ip', ['netns', 'exec', this.name, ...command]];
  }

  /** Runs a program to its end, or until the timeout. */
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
  /** No IPv4 address: the host asks for one. */
  readonly unconfigured?: boolean;
}

/** Namespaces joined by a bridge in its own namespace. Resolvers ask the first host that joined. */
export class Lan implements Disposable {
  /** Prefix of the names of all its namespaces. */
  readonly prefix = uniqueName('lan');
  /** Differs by process, because others may run the same test on this machine. */
  readonly subnet = `10.83.${process.pid % 256}`;
  readonly subnet6 = `fd83:${(process.pid % 65_536).toString(16)}:`;
  readonly bridge: TestNetns;
  /** Hosts that stay until the end. */
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

  /** A host that stays until the end. */
  join(role: string, options: JoinOptions = {}): LanHost {
    const host = this.#resources.use(this.visit(role, options));
    this.hosts.push(host);
    return host;
  }

  /** A host that leaves when it is disposed. Its number was never used by another host. */
  visit(role: string, { ipv6 = true, unconfigured = false }: JoinOptions = {}): LanHost {
    const number = ++this.#joined;
    // IPv4 host numbers 100 to 149 are leased by DHCP.
    const address = `${this.subnet}.${number < 100 ? number : 150 + ((number - 100) % 90)}`;
    const netns = new TestNetns(`${this.prefix}-${role}`);
    const host = new LanHost(role, netns, unconfigured ? '' : address, ipv6 ? `${this.subnet6}:${number}` : undefined);
    mkdirSync(`/etc/netns/${netns.name}`, { recursive: true });
    writeFileSync(`/etc/netns/${netns.name}/resolv.conf`, `nameserver ${this.nameserver}\n`);
    // Written before the device exists, as a kubelet or an operator does.
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
    // The kernel reports a carrier later, with the lock that others hold for seconds: until then both ends discard what they get.
    waitFor(`bridge -n ${this.bridge.name} link show dev ${port} | grep -q 'state forwarding'`);
    waitFor(`ip -n ${netns.name} link show eth0 | grep -q 'state UP'`);
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}

/** @param condition for a shell */
function waitFor(condition: string): void {
  run('timeout', `${READY_SECONDS}`, 'sh', '-c', `until ${condition}; do sleep 0.05; done`);
}
