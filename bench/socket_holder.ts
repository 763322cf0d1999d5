import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestNetns } from '../test/support/hosts.ts';

const PROGRAM = fileURLToPath(new URL('./tcp_sockets.py', import.meta.url));

/** Keeps sockets open in namespaces until disposed. */
export class SocketHolder implements AsyncDisposable {
  readonly #process: ChildProcess = spawn('python3', [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  readonly #answers: AsyncIterator<string>;

  constructor() {
    const { stdout } = this.#process;
    if (stdout === null) throw new Error('no pipe');
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /**
   * Opens connections over the loopback device. Each connection has two sockets.
   * @param timeWait number of further sockets in TIME_WAIT
   */
  async make({ path }: TestNetns, connections: number, timeWait = 0): Promise<void> {
    this.#process.stdin?.write(`${JSON.stringify({ netns: path, connections, time_wait: timeWait })}\n`);
    if ((await this.#answers.next()).done === true) throw new Error('the sockets could not be made');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await gone;
  }
}
