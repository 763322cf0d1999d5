import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { uniqueName } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./many_netns.py', import.meta.url));

/** So many named network namespaces, in each of which something was sent over loopback once it was made; gone when disposed. */
export class ManyNetns implements AsyncDisposable {
  readonly names: readonly string[];
  readonly #end: () => Promise<void>;

  private constructor(names: readonly string[], end: () => Promise<void>) {
    this.names = names;
    this.#end = end;
  }

  static async create(count: number): Promise<ManyNetns> {
    const prefix = uniqueName('many');
    const child = spawn('python3', [PROGRAM, prefix, String(count)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    const end = async () => {
      child.stdin.end();
      await exited;
    };
    const [outcome] = (await Promise.race([once(child.stdout, 'data'), exited])) as [unknown];
    if (!String(outcome).startsWith('ready')) throw new Error(`the namespaces are not there: ${outcome}`);
    return new ManyNetns(
      Array.from({ length: count }, (_, number) => `${prefix}${number}`),
      end,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#end();
  }
}
