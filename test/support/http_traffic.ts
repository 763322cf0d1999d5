import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { run } from './command.ts';
import type { TestNetns } from './hosts.ts';
import { program } from './lan/programs.ts';
import { eventually } from './oracle.ts';

const PROGRAM = fileURLToPath(new URL('./http_traffic.py', import.meta.url));

/** Numbers of requests by method and status, such as `GET 200`. */
export type Answers = Readonly<Record<string, number>>;

function inside({ name }: TestNetns, args: readonly (string | number)[]): string[] {
  return ['netns', 'exec', name, 'python3', '-u', PROGRAM, ...args.map(String)];
}

/** Runs `load`, `talk` or `noise` of http_traffic.py in a namespace until it exits. Returns what it prints. */
export function runHttp(netns: TestNetns, ...args: readonly (string | number)[]): string {
  return run('ip', ...inside(netns, args));
}

export interface Load {
  readonly count: number;
  /** Number of requests that a connection sends at a time. */
  readonly depth: number;
  readonly connections: number;
  readonly style?: 'whole' | 'pieces';
}

/** Sends requests of many kinds to a {@link WebServer}. Returns the responses as counted by the client. */
export function loadHttp(netns: TestNetns, host: string, port: number, load: Load): Answers {
  const { count, depth, connections, style = 'whole' } = load;
  return JSON.parse(runHttp(netns, 'load', host, port, count, depth, connections, style));
}

/** A process of http_traffic.py that runs until it is disposed. */
export class HttpProcess implements AsyncDisposable {
  readonly #process: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#process = child;
  }

  /** Runs `serve`, `discard` or `hold`. */
  static start(netns: TestNetns, ...args: readonly (string | number)[]): Promise<HttpProcess> {
    return HttpProcess.run(netns, inside(netns, args));
  }

  /** Runs a command that prints `ready`, and ends when its standard input ends. */
  static async run(netns: TestNetns, args: readonly string[], command = 'ip'): Promise<HttpProcess> {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    if (value !== 'ready') throw new Error(`the process in ${netns.name} has not started`);
    return new HttpProcess(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.stdin?.end();
    await gone;
  }
}

const SMALL_BYTES = 50;
const LARGE_BYTES = 100_000;

/** nginx, which logs the method and the status of each request. */
export class WebServer implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #folder: string;

  private constructor(child: ChildProcess, folder: string) {
    this.#process = child;
    this.#folder = folder;
  }

  /**
   * Listens on all addresses of the namespace.
   * @param port for accepted connections
   * @param deferredPort for connections that are accepted when their first data arrives (TCP_DEFER_ACCEPT)
   * @param http2Port for connections of HTTP/2. The next port is for those that begin with a header of the PROXY protocol.
   */
  static async start(netns: TestNetns, port: number, deferredPort: number, http2Port?: number): Promise<WebServer> {
    const folder = mkdtempSync(join(tmpdir(), 'http-'));
    mkdirSync(join(folder, 'files'));
    writeFileSync(join(folder, 'files/small'), 's'.repeat(SMALL_BYTES));
    for (const name of ['large', 'zipped.html']) writeFileSync(join(folder, 'files', name), 'a'.repeat(LARGE_BYTES));
    writeFileSync(join(folder, 'nginx.conf'), configurationOf(folder, port, deferredPort, http2Port));
    const command = [program('nginx'), '-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'];
    const child = spawn('ip', ['netns', 'exec', netns.name, ...command], { stdio: ['ignore', 'ignore', 'inherit'] });
    const pid = join(folder, 'pid');
    await eventually(() => {
      if (!existsSync(pid) || readFileSync(pid, 'utf8') === '') throw new Error('nginx has not started');
    });
    return new WebServer(child, folder);
  }

  /** ID of the main process. */
  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Adds a file that is served. */
  addFile(name: string, bytes: number): void {
    writeFileSync(join(this.#folder, 'files', name), Buffer.alloc(bytes, name));
  }

  /** Returns the numbers of requests in the log. */
  log(): Answers {
    const lines = readFileSync(join(this.#folder, 'log'), 'utf8').split('\n').slice(0, -1);
    const counts = Object.entries(Object.groupBy(lines, (line) => line));
    return Object.fromEntries(counts.map(([line, same]) => [line, same?.length ?? 0]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGTERM');
    await gone;
    rmSync(this.#folder, { recursive: true });
  }
}

function configurationOf(folder: string, port: number, deferredPort: number, http2Port?: number): string {
  const http2 =
    http2Port === undefined
      ? ''
      : `listen ${http2Port} http2; listen [::]:${http2Port} http2; listen ${http2Port + 1} http2 proxy_protocol;`;
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  return `
    daemon off; user root; worker_processes 1; pid ${folder}/pid; error_log stderr error;
    events { worker_connections 512; }
    http {
      log_format answers '$request_method $status'; access_log ${folder}/log answers; ${paths.join(' ')}
      keepalive_requests 1000000; types { text/html html; } sendfile on; tcp_nopush on;
      server {
        listen ${port}; listen [::]:${port}; listen ${deferredPort} deferred; listen [::]:${deferredPort} deferred; ${http2}
        root ${folder}/files;
        location = /moved { return 301 /small; }
        location = /missing { return 404; }
        location = /error { return 500 error; }
        location = /empty { return 204; }
        location = /answer { return 200 answer; }
        location = /zipped.html { gzip on; }
      }
    }`;
}
