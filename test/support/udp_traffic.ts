import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { run } from './command.ts';
import type { TestNetns } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./udp_traffic.py', import.meta.url));

type Count = readonly [datagrams: number, bytes: number];

/** Number of datagrams and payload bytes that a process has sent and received, as counted by the process itself. */
export interface UdpTraffic {
  readonly sent: Count;
  readonly received: Count;
}

function inside({ name }: TestNetns, args: readonly (string | number)[]): string[] {
  return ['netns', 'exec', name, 'python3', '-u', PROGRAM, ...args.map(String)];
}

/** Runs `call`, `scatter` or `segments` of udp_traffic.py in a namespace until it exits. */
export function sendUdp(netns: TestNetns, ...args: readonly (string | number)[]): UdpTraffic {
  return JSON.parse(run('ip', ...inside(netns, args)));
}

/** A server from udp_traffic.py, running in a namespace. */
export class UdpServer implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.#process = child;
    this.#lines = lines;
  }

  static async start(
    netns: TestNetns,
    address: string,
    port: number,
    style: 'reply' | 'sink' | 'joined',
  ): Promise<UdpServer> {
    const child = spawn('ip', inside(netns, ['serve', address, port, style]), { stdio: ['pipe', 'pipe', 'inherit'] });
    const server = new UdpServer(child, createInterface({ input: child.stdout })[Symbol.asyncIterator]());
    const { value } = await server.#lines.next();
    if (value !== 'ready') throw new Error(`the server in ${netns.name} has not started`);
    return server;
  }

  /** Stops the server when no more datagrams arrive. */
  async end(): Promise<UdpTraffic> {
    this.#process.stdin?.end();
    const { value } = await this.#lines.next();
    return JSON.parse(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await gone;
  }
}
