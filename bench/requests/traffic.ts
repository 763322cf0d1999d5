import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { HostPair } from '../../test/support/hosts.ts';
import { type Answers, WebServer } from '../../test/support/http_traffic.ts';
import { runHttp2, startHttp2 } from '../../test/support/http2_traffic.ts';
import { program } from '../../test/support/lan/programs.ts';
import { eventually } from '../../test/support/oracle.ts';

const execute = promisify(execFile);

const PORTS = { web: 8_080, deferred: 8_081, web2: 8_082, redis: 6_379, dns: 53, grpc: 50_051 } as const;
export const DOWNLOAD_BYTES = 10_000_000;

/** A kind of request of requests.c. */
export type Kind = 'kept' | 'browser' | 'short' | 'download' | 'redis';

/** A number of requests that were answered, and what they took. */
export interface Played {
  readonly requests: number;
  readonly seconds: number;
  /** CPU milliseconds of the client. */
  readonly clientMs: number;
}

/** Servers of several protocols in the second namespace of a pair, and clients in the first one. */
export class Traffic implements AsyncDisposable {
  readonly #pair: HostPair;
  readonly #folder: string;
  readonly #client: string;
  readonly #stack = new AsyncDisposableStack();
  readonly #pids = new Map<'web' | 'redis', number>();

  private constructor(pair: HostPair, folder: string, client: string) {
    this.#pair = pair;
    this.#folder = folder;
    this.#client = client;
  }

  /** @param client path of the compiled requests.c */
  static async start(pair: HostPair, folder: string, client: string): Promise<Traffic> {
    const traffic = new Traffic(pair, folder, client);
    const { b, addressB } = pair;
    try {
      const web = traffic.#stack.use(await WebServer.start(b.netns, PORTS.web, PORTS.deferred, PORTS.web2));
      web.addFile('download', DOWNLOAD_BYTES);
      traffic.#pids.set('web', web.pid);
      traffic.#stack.use(await startHttp2(b.netns, 'serve', `${addressB.ipv4}:${PORTS.grpc}`));
      await traffic.#startRedis();
      await traffic.#startDns();
      pair.a.netns.exec('sysctl -qw net.ipv4.tcp_tw_reuse=1');
      await execute('ip', [
        ...['netns', 'exec', pair.a.netns.name, 'sysctl', '-qw', 'net.ipv4.ip_local_port_range=1024 65535'],
      ]);
    } catch (error) {
      await traffic[Symbol.asyncDispose]();
      throw error;
    }
    return traffic;
  }

  /** Sends requests of a kind. @param rate requests per second; 0 for as many as possible */
  async play(kind: Kind, count: number, rate = 0): Promise<Played> {
    const { a, addressB } = this.#pair;
    const port = kind === 'redis' ? PORTS.redis : PORTS.web;
    const connections = kind === 'download' ? 2 : 16;
    const args = [a.netns.name, addressB.ipv4, port, kind, connections, count, rate].map(String);
    const [elapsed, cpu] = (await execute(this.#client, args)).stdout.split(' ').map(Number);
    return { requests: count, seconds: (elapsed ?? 0) / 1e9, clientMs: (cpu ?? 0) / 1e6 };
  }

  /** Sends requests of HTTP/2. Returns their number. */
  http2(count: number): number {
    return total(runHttp2(this.#pair.a.netns, 'load', `${this.#pair.addressB.ipv4}:${PORTS.web2}`, count, 10, 4));
  }

  /** Makes gRPC calls. Returns their number. */
  grpc(count: number): number {
    return total(runHttp2(this.#pair.a.netns, 'call', `${this.#pair.addressB.ipv4}:${PORTS.grpc}`, count, 16));
  }

  /** Sends DNS queries. Returns their number. */
  async dns(count: number): Promise<number> {
    const { a, addressB } = this.#pair;
    const file = join(this.#folder, 'queries');
    writeFileSync(file, 'shop.test A\nshop.test AAAA\ncart.gone.test A\n');
    const args = ['-s', addressB.ipv4, '-d', file, '-n', String(Math.ceil(count / 3)), '-q', '20', '-c', '4'];
    const { stdout } = await execute('ip', ['netns', 'exec', a.netns.name, 'dnsperf', ...args]);
    return Number(/Queries completed: +(\d+)/.exec(stdout)?.[1]);
  }

  /** Returns the CPU milliseconds of a server's main threads so far. */
  serverMs(server: 'web' | 'redis'): number {
    const pid = this.#pids.get(server) ?? 0;
    const workers = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
    return [pid, ...workers].reduce((sum, id) => sum + cpuMsOf(id), 0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async #startRedis(): Promise<void> {
    const { netns } = this.#pair.b;
    // All Redis programs are the same binary, which acts according to its name.
    const server = join(this.#folder, 'redis-server');
    symlinkSync(program('redis-check-rdb'), server);
    const options = ['--bind', '*', '--protected-mode', 'no', '--save', '', '--port', String(PORTS.redis)];
    const child = this.#run([server, ...options]);
    this.#pids.set('redis', child.pid ?? 0);
    await this.#listens(`tcp sport = :${PORTS.redis}`);
    await execute('ip', ['netns', 'exec', netns.name, 'redis-cli', '-p', String(PORTS.redis), 'set', 'key', 'value']);
  }

  async #startDns(): Promise<void> {
    const address = this.#pair.addressB.ipv4;
    this.#run([
      ...[program('dnsmasq'), '--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts'],
      ...['--bind-interfaces', `--listen-address=${address}`, '--user=root', '--pid-file='],
      ...['--address=/shop.test/10.1.2.3', '--local=/gone.test/'],
    ]);
    await this.#listens(`udp sport = :${PORTS.dns}`);
  }

  /** Runs a server until this object is disposed. */
  #run(command: readonly string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.#pair.b.netns.name, ...command], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const gone = once(child, 'exit');
    this.#stack.defer(async () => {
      child.kill();
      await gone;
    });
    return child;
  }

  async #listens(filter: string): Promise<void> {
    const [protocol = '', ...rest] = filter.split(' ');
    await eventually(() => {
      const found = this.#pair.b.netns.exec(`ss -Hln --${protocol} ${rest.join(' ')}`);
      if (found === '') throw new Error(`nothing listens at ${filter}`);
    });
  }
}

function total(answers: Answers): number {
  return Object.values(answers).reduce((sum, count) => sum + count, 0);
}

/** Returns the CPU milliseconds of a process's main thread (Documentation/scheduler/sched-stats.rst). */
function cpuMsOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
}
