import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { TestNetns } from './hosts.ts';
import { eventually } from './oracle.ts';

/**
 * Python code that raises the process's priority if CAP_SYS_NICE permits it. Programs that measure time should not have
 * to wait for a CPU.
 */
export const AHEAD_OF_OTHERS = `
import os
try: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
except PermissionError: pass
`;

/** A Python program in a namespace that reads and writes lines. Disposing terminates it. */
export class PythonProgram implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #gone: Promise<unknown>;

  constructor({ name }: TestNetns, program: string) {
    this.#child = spawn('ip', ['netns', 'exec', name, 'python3', '-u', '-c', program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#gone = new Promise((resolve) => this.#child.once('exit', resolve));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Returns the next line that the program prints. @throws if the program has exited */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the program has ended');
    return value;
  }

  tell(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Stops the program with SIGSTOP, and waits until it has stopped. SIGCONT continues it. */
  async stop(): Promise<void> {
    this.signal('SIGSTOP');
    await eventually(() => {
      const [state] = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1] ?? '';
      if (state !== 'T') throw new Error(`the program is not stopped: ${state}`);
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
  }
}
