import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestNetns } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./dialogue.py', import.meta.url));

/** Bytes that the two ends of a connection send, in this order. */
export type Dialogue = readonly (readonly [end: 'client' | 'server', bytes: Buffer])[];

class End {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(netns: TestNetns, ...args: readonly string[]) {
    const command = ['netns', 'exec', netns.name, 'python3', PROGRAM, ...args];
    const child = spawn('ip', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async expect(text: 'ready' | 'done'): Promise<void> {
    const { value } = await this.#lines.next();
    if (value !== text) throw new Error(`instead of '${text}', an end of a dialogue has printed '${value}'`);
  }

  async play(line: string): Promise<void> {
    this.#child.stdin?.write(line);
    await this.expect('done');
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

/** Two processes that play dialogues, each over a connection of its own. */
export class Speakers implements Disposable {
  readonly #ends: readonly [server: End, client: End];

  private constructor(ends: readonly [server: End, client: End]) {
    this.#ends = ends;
  }

  static async start(from: TestNetns, to: TestNetns, host: string, port: number): Promise<Speakers> {
    const server = new End(to, 'serve', host, String(port));
    const client = new End(from, 'send', host, String(port));
    const speakers = new Speakers([server, client]);
    await Promise.all([server.expect('ready'), client.expect('ready')]);
    return speakers;
  }

  /** Plays a dialogue until both ends have closed the connection. */
  async play(dialogue: Dialogue): Promise<void> {
    const line = `${JSON.stringify(dialogue.map(([end, bytes]) => [end, bytes.toString('hex')]))}\n`;
    await Promise.all(this.#ends.map((end) => end.play(line)));
  }

  [Symbol.dispose](): void {
    for (const end of this.#ends) end[Symbol.dispose]();
  }
}
