import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs the file `command` for each request. The requests end when the test's process does. */
const LOOP = `trap 'rm -rf "$0"' EXIT
trap exit INT TERM PIPE
while read -r _; do . "$0/command"; echo "$?"; done <"$0/requests" >"$0/statuses"`;

/** Length of the largest status with its line break. */
const STATUS_BYTES = 4;

export interface Finished {
  /** Exit status: 127 if there is no such command, or 128 plus the number of the signal that ended the command. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * A shell that runs commands. Node.js starts a process with a fork, which copies the page tables of all memory of the
 * test's process. With 300 MB, this takes 50 ms of CPU time, and most commands take 10 ms. A fork of the shell is cheap.
 */
export class Launcher {
  readonly #folder = mkdtempSync(join(tmpdir(), 'launcher-'));
  readonly #requests: number;
  readonly #statuses: number;

  constructor() {
    const requests = this.#path('requests');
    const statuses = this.#path('statuses');
    spawnSync('mkfifo', [requests, statuses]);
    spawn('sh', ['-c', LOOP, this.#folder], { stdio: 'ignore' }).unref();
    // Opening a FIFO waits until the other end is open.
    this.#requests = openSync(requests, 'w');
    this.#statuses = openSync(statuses, 'r');
  }

  /** Runs a command, and blocks this thread until the command ends. @param input its standard input */
  run(command: string, args: readonly string[], input?: string): Finished {
    const [source, out, err] = [
      input === undefined ? '/dev/null' : this.#path('in'),
      this.#path('out'),
      this.#path('err'),
    ];
    if (input !== undefined) writeFileSync(source, input);
    const words = [command, ...args].map(quoted).join(' ');
    writeFileSync(this.#path('command'), `${words} <${quoted(source)} >${quoted(out)} 2>${quoted(err)}\n`);
    writeSync(this.#requests, '\n');
    const line = Buffer.alloc(STATUS_BYTES);
    const length = readSync(this.#statuses, line);
    if (length === 0) throw new Error('the launcher has ended');
    return {
      status: Number(line.toString('latin1', 0, length)),
      stdout: readFileSync(out, 'utf8'),
      stderr: readFileSync(err, 'utf8'),
    };
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}
