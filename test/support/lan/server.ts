import { type ChildProcess, spawn } from 'node:child_process';
import { eventually } from '../oracle.ts';
import type { LanHost } from './lan.ts';
import { libraries } from './programs.ts';

const START_MS = 60_000;

/** A server process in a namespace. Disposing terminates it. */
export class Server implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;
  output = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#gone = new Promise((resolve) => child.once('exit', resolve));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (data) => {
        this.output += String(data);
      });
    }
  }

  /**
   * @param ready returns whether the server is ready. It must not try to connect, because a refused connection would
   * cause an event.
   */
  static async start(host: LanHost, command: readonly string[], ready: RegExp | (() => boolean)): Promise<Server> {
    const [program, args] = host.inside(...command);
    const env = { ...process.env, ...libraries() };
    const server = new Server(spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env }));
    try {
      await eventually(() => {
        const is = typeof ready === 'function' ? ready() : ready.test(server.output);
        if (!is) throw new Error(`${command.join(' ')} is not ready in ${host.name}:\n${server.output}`);
      }, START_MS);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Writes a line to the server's stdin, and returns the next line that it prints. */
  async ask(line: string): Promise<string> {
    const from = this.output.length;
    this.#child.stdin?.write(`${line}\n`);
    return eventually(() => {
      const [answer, rest] = this.output.slice(from).split('\n', 2);
      if (answer === undefined || rest === undefined) throw new Error('no answer');
      return answer;
    });
  }

  /** Sends SIGTERM, and SIGKILL if the process does not exit. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGTERM');
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await this.#gone;
    clearTimeout(force);
  }
}
