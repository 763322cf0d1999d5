import { type ChildProcess, spawn } from 'node:child_process';
import { BIN } from './agent_process.ts';
import { TestNetns } from './hosts.ts';
import { eventually } from './oracle.ts';

/** Address of a neighbour that does not exist, and therefore does not answer. */
export const SILENT = '10.78.0.99';
export const NEAR = '10.78.0.1';
export const FAR = '10.78.0.2';
export const PORT = 40_009;

/** Two namespaces that a veth pair connects. */
export class CaptureScene implements Disposable {
  readonly near = new TestNetns();
  readonly far = new TestNetns();

  constructor() {
    this.near.ip(`link add eth0 type veth peer name eth0 netns ${this.far.name}`);
    for (const [netns, address] of [
      [this.near, NEAR],
      [this.far, FAR],
    ] as const) {
      netns.ip('link set lo up');
      // Addresses of IPv6 would cause packets that no test sends.
      netns.exec('sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1');
      netns.ip('link set eth0 up');
      netns.ip(`address add ${address}/24 dev eth0`);
    }
    this.near.ip(`neigh add ${SILENT} lladdr 02:00:00:00:00:99 dev eth0`);
  }

  /** Sends datagrams at a rate, and returns the number that was sent. Every byte of a datagram is its number modulo 256. */
  send({ target = SILENT, count = 10, rate = 1_000, bytes = 100, port = PORT }): number {
    return Number(
      this.near.python(`
import socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(('${target}', ${port}))
payloads = [bytes([number]) * ${bytes} for number in range(256)]
start, sent = time.monotonic(), 0
while sent < ${count}:
    due = min(${count}, int((time.monotonic() - start) * ${rate}) + 1)
    while sent < due:
        try: sender.send(payloads[sent % 256])
        except ConnectionRefusedError: continue
        sent += 1
print(sent)
`),
    );
  }

  [Symbol.dispose](): void {
    this.near[Symbol.dispose]();
    this.far[Symbol.dispose]();
  }
}

export interface Captured {
  readonly code: number | null;
  readonly stderr: string;
  readonly counts: { received: number; written: number; lost: number; left: number } | undefined;
}

/** `netsonde capture` in its own process. */
export class CaptureProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  #stderr = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        if (signal !== null) this.#stderr += `ended by ${signal}\n`;
        resolve(code);
      });
    });
    child.stderr?.on('data', (data) => {
      this.#stderr += String(data);
    });
  }

  /**
   * Starts the command, and waits until it receives packets, or has failed.
   * @param reader shell command that reads the output of `-w -`
   */
  static async start(
    args: readonly string[],
    reader?: string,
    wrapper: readonly string[] = [],
  ): Promise<CaptureProcess> {
    const [command = BIN, ...rest] = [...wrapper, BIN, 'capture', ...args];
    const stdio = ['ignore', 'ignore', 'pipe'] as const;
    const child =
      reader === undefined
        ? spawn(command, rest, { stdio: [...stdio] })
        : spawn('bash', ['-c', `exec "$@" > >(exec 2>&-; ${reader})`, 'bash', command, ...rest], { stdio: [...stdio] });
    const process = new CaptureProcess(child);
    let hasEnded = false;
    void process.#exited.then(() => {
      hasEnded = true;
    });
    await eventually(() => {
      if (!hasEnded && !process.#stderr.includes('netsonde: capture of')) throw new Error('not started');
    });
    return process;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async ended(): Promise<Captured> {
    const code = await this.#exited;
    const [, ...counts] =
      /packets: (\d+) received, (\d+) written \(\d+ bytes\), (\d+) lost .*, (\d+) left/.exec(this.#stderr) ?? [];
    const [received = 0, written = 0, lost = 0, left = 0] = counts.map(Number);
    return { code, stderr: this.#stderr, counts: counts.length === 0 ? undefined : { received, written, lost, left } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

/** Returns the packet sockets in a namespace. */
export function packetSockets(netns: TestNetns): string[] {
  return netns.exec('cat /proc/net/packet').trim().split('\n').slice(1);
}
