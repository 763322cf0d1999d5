import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { run } from './command.ts';
import type { TestNetns } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./dns_traffic.py', import.meta.url));

/** Messages of a process, as counted by the process itself: queries by type, and answers by response code. */
export interface DnsTraffic {
  readonly queries: Readonly<Record<string, number>>;
  readonly answers: Readonly<Record<string, number>>;
  readonly truncated: number;
}

/** A name, whose first label is the answer that the server gives; a query type; and the number of queries. */
export type Ask = readonly [name: string, qtype: string, count: number];

/** How a client sends queries. */
export type AskStyle = 'each' | 'connected' | 'unconnected' | 'pipelined' | 'pieces' | 'single';

function inside({ name }: TestNetns, args: readonly (string | number)[]): string[] {
  return ['netns', 'exec', name, 'python3', '-u', PROGRAM, ...args.map(String)];
}

/** Sends queries, and waits for their answers. */
export function askDns(
  netns: TestNetns,
  server: string,
  protocol: 'udp' | 'tcp',
  style: AskStyle,
  asks: readonly Ask[],
): DnsTraffic {
  const args = inside(netns, ['ask', server, protocol, style, JSON.stringify(asks)]);
  return JSON.parse(run('ip', ...args));
}

/** Sends packets to port 53 that are no DNS queries. */
export function sendJunk(netns: TestNetns, server: string, count: number, seed: number): void {
  run('ip', ...inside(netns, ['junk', server, count, seed]));
}

/** A DNS server on UDP and TCP. */
export class DnsServer implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.#process = child;
    this.#lines = lines;
  }

  /** @param style with `deferred`, the first query of a connection arrives on the listening socket */
  static async start(netns: TestNetns, address: string, style: 'plain' | 'deferred' = 'plain'): Promise<DnsServer> {
    const child = spawn('ip', inside(netns, ['serve', address, style]), { stdio: ['pipe', 'pipe', 'inherit'] });
    const server = new DnsServer(child, createInterface({ input: child.stdout })[Symbol.asyncIterator]());
    const { value } = await server.#lines.next();
    if (value !== 'ready') throw new Error(`the server in ${netns.name} has not started`);
    return server;
  }

  /** Stops the server when no more queries arrive. */
  async end(): Promise<DnsTraffic> {
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
