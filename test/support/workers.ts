import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestNetns } from './hosts.ts';
import { eventually } from './oracle.ts';

const SCRIPT = fileURLToPath(new URL('./worker.py', import.meta.url));

type Argument = string | number | boolean;

interface Answer {
  readonly pid?: number;
  readonly innerPid?: number;
  readonly result?: number | null;
  readonly error?: string;
}

/** A process that runs commands (see worker.py). */
export class Worker {
  readonly pid: number;
  /** The process's PID in its own PID namespace. */
  readonly innerPid: number;
  readonly #workers: Workers;
  readonly #connection: Socket;
  #answered: ((answer: Answer) => void) | undefined;

  constructor(pid: number, innerPid: number, workers: Workers, connection: Socket) {
    this.pid = pid;
    this.innerPid = innerPid;
    this.#workers = workers;
    this.#connection = connection;
  }

  threads(count: number): Promise<unknown> {
    return this.#call('threads', count);
  }

  files(count: number): Promise<unknown> {
    return this.#call('files', count);
  }

  sockets(count: number): Promise<unknown> {
    return this.#call('sockets', count);
  }

  /** Sets the soft limit on open files. */
  limit(files: number): Promise<unknown> {
    return this.#call('limit', files);
  }

  /** Writes this number of bytes to storage in one call. */
  write(path: string, bytes: number): Promise<unknown> {
    return this.#call('write', path, bytes);
  }

  /** Reads this number of bytes from storage in one call. */
  read(path: string, bytes: number): Promise<unknown> {
    return this.#call('read', path, bytes);
  }

  /** Reads and writes a single byte this number of times, without using storage. */
  calls(count: number): Promise<unknown> {
    return this.#call('calls', count);
  }

  fork(): Promise<Worker> {
    return this.#workers.next(() => this.#call('fork'));
  }

  wait(child: Worker): Promise<unknown> {
    return this.#call('wait', child.innerPid);
  }

  ignoreChildren(): Promise<unknown> {
    return this.#call('ignore_children');
  }

  /**
   * Starts child processes until the time has elapsed. Each writes this number of bytes. If `orphans` is set, the
   * processes become orphans. Returns the number of started processes.
   */
  async churn(path: string, bytes: number, seconds: number, orphans = false): Promise<number> {
    return (await this.#call('churn', path, bytes, seconds, orphans)) ?? 0;
  }

  newNetns(): Promise<unknown> {
    return this.#call('new_netns');
  }

  /** Ends the first thread. The other threads continue, but the process accepts no further commands. */
  endFirstThread(): void {
    this.#send('end_first_thread');
  }

  /**
   * Ends the process, and resolves when its connection is closed. At that time, its parent may not have waited for it
   * yet.
   */
  async end(): Promise<void> {
    const closed = new Promise((resolve) => this.#connection.once('close', resolve));
    this.#send('end');
    await closed;
  }

  answer(answer: Answer): void {
    this.#answered?.(answer);
  }

  async #call(name: string, ...args: readonly Argument[]): Promise<number | null | undefined> {
    const answered = new Promise<Answer>((resolve) => {
      this.#answered = resolve;
    });
    this.#send(name, ...args);
    const { error, result } = await answered;
    if (error !== undefined) throw new Error(`${name}: ${error}`);
    return result;
  }

  #send(name: string, ...args: readonly Argument[]): void {
    this.#connection.write(`${JSON.stringify([name, ...args])}\n`);
  }
}

/** Starts workers. Disposing terminates them and their children. */
export class Workers implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'workers-'));
  readonly #path = join(this.#directory, 'socket');
  readonly #workers = new Set<Worker>();
  readonly #connections = new Set<Socket>();
  readonly #children = new Set<ChildProcess>();
  #server: Server | undefined;

  static async create(): Promise<Workers> {
    const workers = new Workers();
    await workers.#listen();
    return workers;
  }

  /** Starts a worker in a network namespace, by default that of the test. `wrapper` is a command prefix. */
  async start(netns?: TestNetns, wrapper: readonly string[] = []): Promise<Worker> {
    const [command = '', ...args] = [
      ...(netns === undefined ? [] : ['ip', 'netns', 'exec', netns.name]),
      ...wrapper,
      'python3',
      SCRIPT,
      this.#path,
    ];
    return this.next(() => {
      const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
      this.#children.add(child);
      child.once('exit', () => this.#children.delete(child));
    });
  }

  /** Calls `begin`, and resolves to the next worker that connects. */
  async next(begin: () => unknown): Promise<Worker> {
    const before = new Set(this.#workers);
    await begin();
    return eventually(() => {
      const found = [...this.#workers].find((worker) => !before.has(worker));
      if (found === undefined) throw new Error('no worker has called');
      return found;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    for (const child of this.#children) child.kill('SIGKILL');
    await eventually(() => {
      if (this.#children.size > 0) throw new Error('workers are left');
    });
    await new Promise((resolve) => this.#server?.close(resolve));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #listen(): Promise<void> {
    const server = createServer((connection) => this.#accept(connection));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#path, resolve));
  }

  #accept(connection: Socket): void {
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    connection.on('error', () => undefined);
    let worker: Worker | undefined;
    createInterface({ input: connection }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      if (answer.pid === undefined) {
        worker?.answer(answer);
      } else {
        worker = new Worker(answer.pid, answer.innerPid ?? 0, this, connection);
        this.#workers.add(worker);
      }
    });
  }
}
