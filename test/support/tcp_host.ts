import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestNetns } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./tcp_host.py', import.meta.url));

/** Parameters of the functions in tcp_host.py. Sockets are identified by name. */
interface Calls {
  listen: { name: string; address: string; port: number; backlog?: number; fastopen?: number };
  listen_on_many: { address: string; count: number };
  connect: { name: string; address: string; port: number; count?: number; wait?: boolean };
  connect_fast: { name: string; address: string; port: number; bytes: number };
  accept: { name: string; listener: string; count?: number };
  pairs: { name: string; address: string; port: number; count: number };
  send: { name: string; bytes: number };
  fill: { name: string };
  shutdown: { name: string };
  close: { name: string };
  churn: { address: string; port: number; seconds: number };
}

/** A process in a namespace that can bring TCP sockets into any state. */
export class TcpHost implements AsyncDisposable {
  readonly netns: TestNetns;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  constructor(netns: TestNetns) {
    this.netns = netns;
    this.#process = spawn('ip', ['netns', 'exec', netns.name, 'python3', PROGRAM], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const { stdout } = this.#process;
    if (stdout === null) throw new Error('no pipe');
    createInterface({ input: stdout }).on('line', (line) => {
      const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    });
  }

  call<C extends keyof Calls>(call: C, args: Calls[C]): Promise<unknown> {
    const id = this.#nextId++;
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#process.stdin?.write(`${JSON.stringify({ id, call, args })}\n`);
    return answer;
  }

  /** Ends the process, and waits for it to exit. */
  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.exitCode !== null) return;
    this.#process.kill('SIGKILL');
    await gone;
  }
}
