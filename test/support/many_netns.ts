import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { uniqueName } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./many_netns.py', import.meta.url));

/** Named network namespaces, each of which has had loopback traffic. Disposing removes them. */
export class ManyNetns implements AsyncDisposable {
  readonly names: readonly string[];
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(names: readonly string[], child: ChildProcessByStdio<Writable, Readable, null>) {
    this.names = names;
    this.#child = child;
  }

  static async create(count: number): Promise<ManyNetns> {
    const prefix = uniqueName('many');
    const child = spawn('python3', [PROGRAM, prefix, String(count)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    const [outcome] = (await Promise.race([once(child.stdout, 'data'), exited])) as [unknown];
    if (!String(outcome).startsWith('ready')) throw new Error(`the namespaces were not made: ${outcome}`);
    return new ManyNetns(
      Array.from({ length: count }, (_, number) => `${prefix}${number}`),
      child,
    );
  }

  /** Generates the same traffic again in each namespace. */
  async use(): Promise<void> {
    this.#child.stdin.write('\n');
    await once(this.#child.stdout, 'data');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.stdin.end();
    await exited;
  }
}
