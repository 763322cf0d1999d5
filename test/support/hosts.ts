import { type ChildProcess, spawn } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { BpfError, netnsCookie, withNetns } from 'bpf-napi';
import { run, runWith, sh } from './command.ts';

const PROCESS = fileURLToPath(new URL('./host_process.ts', import.meta.url));
/** Loader option of this process. A guest has a loader that also makes host processes start faster. */
const LOADER = process.execArgv.filter((option) => option.startsWith('--import='));

const ENOPROTOOPT = 92;

let counter = 0;

/**
 * Returns a name that no other test on the machine uses. The name has at most 15 characters, which is the limit for
 * device names.
 */
export function uniqueName(prefix: string): string {
  counter++;
  return `${prefix}${process.pid.toString(36)}${counter.toString(36)}`;
}

/** A network namespace created by `ip netns add`. Disposing removes it. */
export class TestNetns implements Disposable {
  readonly name: string;

  /** @param parent namespace from which the new one inherits some settings */
  constructor(name = uniqueName('ns'), parent?: TestNetns) {
    this.name = name;
    sh(`${parent === undefined ? '' : `nsenter --net=${parent.path} `}ip netns add ${name}`);
  }

  get path(): string {
    return `/run/netns/${this.name}`;
  }

  get inum(): number {
    return statSync(this.path).ino;
  }

  get cookie(): bigint {
    return withNetns(this.path, netnsCookie);
  }

  /**
   * The ID by which the agent identifies the namespace: its cookie, or its inode number before 5.14, where a process
   * cannot read the cookie.
   */
  get id(): bigint {
    try {
      return this.cookie;
    } catch (error) {
      if (!(error instanceof BpfError) || error.errno !== ENOPROTOOPT) throw error;
      return BigInt(this.inum);
    }
  }

  ip(line: string): string {
    return sh(`ip -n ${this.name} ${line}`);
  }

  /** Runs commands of `ip` in one process. */
  batch(...lines: readonly string[]): void {
    runWith(lines.join('\n'), 'ip', '-n', this.name, '-batch', '-');
  }

  tc(line: string): string {
    return sh(`tc -n ${this.name} ${line}`);
  }

  /** Runs a command in the namespace. */
  exec(line: string): string {
    return sh(`ip netns exec ${this.name} ${line}`);
  }

  /** Runs a Python program in the namespace. */
  python(program: string): string {
    return run('ip', 'netns', 'exec', this.name, 'python3', '-c', program);
  }

  [Symbol.dispose](): void {
    sh(`ip netns del ${this.name}`);
  }
}

/** Starts a Python program in a namespace, and waits for its first line of output. Disposing terminates the program. */
export async function startPython(
  { name }: TestNetns,
  program: string,
): Promise<AsyncDisposable & { readonly pid: number }> {
  const child = spawn('ip', ['netns', 'exec', name, 'python3', '-u', '-c', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const ready = new Promise((resolve) => child.stdout.once('data', resolve));
  const outcome = await Promise.race([ready.then(() => 'ready'), gone.then((code) => `it ended with ${code}`)]);
  if (outcome !== 'ready') throw new Error(`the program in ${name} is not ready: ${outcome}`);
  return {
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** A process that generates traffic in a namespace. */
export class Host implements AsyncDisposable {
  readonly netns: TestNetns;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  private constructor(netns: TestNetns, child: ChildProcess) {
    this.netns = netns;
    this.#process = child;
  }

  static async start(netns: TestNetns): Promise<Host> {
    const child = spawn('ip', ['netns', 'exec', netns.name, process.execPath, ...LOADER, PROCESS], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const host = new Host(netns, child);
    if (child.stdout === null) throw new Error('no pipe');
    const started = new Promise((resolve, reject) => host.#waiting.set(0, { resolve, reject }));
    createInterface({ input: child.stdout }).on('line', (line) => host.#receive(line));
    await started;
    return host;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  udpReceive(args: { address: string; port: number }): Promise<void> {
    return this.#call('udpReceive', args);
  }

  udpReceived(args: { port: number }): Promise<number> {
    return this.#call('udpReceived', args);
  }

  udpSend(args: { address: string; port: number; count: number; bytes: number }): Promise<number> {
    return this.#call('udpSend', args);
  }

  tcpServe(args: { address: string; port: number }): Promise<void> {
    return this.#call('tcpServe', args);
  }

  tcpStop(args: { port: number }): Promise<void> {
    return this.#call('tcpStop', args);
  }

  tcpExchange(args: { address: string; port: number; count: number; bytes: number }): Promise<void> {
    return this.#call('tcpExchange', args);
  }

  tcpHold(args: { address: string; port: number; count: number }): Promise<void> {
    return this.#call('tcpHold', args);
  }

  tcpTry(args: { address: string; port: number; timeoutMs: number }): Promise<string> {
    return this.#call('tcpTry', args);
  }

  /** Ends the process, and waits for it to exit. */
  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.exitCode !== null) return;
    this.#process.kill('SIGKILL');
    await gone;
  }

  #call<T>(call: string, args: object): Promise<T> {
    const id = this.#nextId++;
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#process.stdin?.write(`${JSON.stringify({ id, call, args })}\n`);
    return answer as Promise<T>;
  }

  #receive(line: string): void {
    const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }
}

type Addresses = Readonly<Record<'ipv4' | 'ipv6', string>>;

/** Configures one end of a pair. @param other addresses of the other end, whose device has the address `otherLink` */
function configure(netns: TestNetns, device: string, own: Addresses, other: Addresses, otherLink: string): void {
  // A new namespace inherits this setting from the machine's first namespace, so it is reset to its default.
  withNetns(netns.path, () => writeFileSync('/proc/sys/net/ipv4/ip_forward', '0'));
  netns.batch(
    'link set lo up',
    `addr add ${own.ipv4}/24 dev ${device}`,
    // Duplicate address detection would delay the use of the address by one or two seconds.
    `addr add ${own.ipv6}/64 dev ${device} nodad`,
    `link set ${device} up`,
    // The neighbour entries are permanent, because neighbour resolution would delay the packets of a test.
    ...[other.ipv4, other.ipv6].map(
      (address) => `neigh replace ${address} lladdr ${otherLink} dev ${device} nud permanent`,
    ),
  );
}

/** Link-layer addresses of a pair's devices. */
const LINK_A = '02:09:00:00:00:0a';
export const LINK_B = '02:09:00:00:00:0b';

/** Two namespaces connected by a veth pair, with IPv4 and IPv6 addresses and a host process in each. */
export class HostPair implements AsyncDisposable {
  readonly a: Host;
  readonly b: Host;
  readonly deviceA: string;
  readonly deviceB: string;
  readonly addressA = { ipv4: '10.9.0.1', ipv6: 'fd09::1' };
  readonly addressB = { ipv4: '10.9.0.2', ipv6: 'fd09::2' };

  private constructor(a: Host, b: Host, deviceA: string, deviceB: string) {
    this.a = a;
    this.b = b;
    this.deviceA = deviceA;
    this.deviceB = deviceB;
  }

  static async create(): Promise<HostPair> {
    await using cleanup = new AsyncDisposableStack();
    const netnsA = cleanup.use(new TestNetns());
    const netnsB = cleanup.use(new TestNetns());
    const [deviceA, deviceB] = [uniqueName('va'), uniqueName('vb')];
    const peer = `peer name ${deviceB} address ${LINK_B} netns ${netnsB.name}`;
    sh(`ip link add ${deviceA} address ${LINK_A} netns ${netnsA.name} type veth ${peer}`);
    const a = cleanup.use(await Host.start(netnsA));
    const b = cleanup.use(await Host.start(netnsB));
    const pair = new HostPair(a, b, deviceA, deviceB);
    configure(netnsA, deviceA, pair.addressA, pair.addressB, LINK_B);
    configure(netnsB, deviceB, pair.addressB, pair.addressA, LINK_A);
    pair.#resources = cleanup.move();
    return pair;
  }

  #resources = new AsyncDisposableStack();

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
