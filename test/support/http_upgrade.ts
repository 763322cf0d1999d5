import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestNetns } from './hosts.ts';
import type { Answers } from './http_traffic.ts';
import { libraries, program } from './lan/programs.ts';
import { eventually } from './oracle.ts';

/** nghttpx, a proxy that accepts upgrades from HTTP/1.1 to HTTP/2, before a server in the same namespace. */
export class UpgradingProxy implements AsyncDisposable {
  readonly #child: ReturnType<typeof spawn>;
  readonly #folder: string;

  private constructor(child: ReturnType<typeof spawn>, folder: string) {
    this.#child = child;
    this.#folder = folder;
  }

  static async start(netns: TestNetns, port: number, serverPort: number): Promise<UpgradingProxy> {
    const folder = mkdtempSync(join(tmpdir(), 'upgrade-'));
    const options = {
      conf: '/dev/null',
      frontend: `0.0.0.0,${port};no-tls`,
      backend: `127.0.0.1,${serverPort}`,
      workers: 1,
      'accesslog-file': join(folder, 'log'),
      'accesslog-format': '$method $status',
    };
    const args = Object.entries(options).map(([option, value]) => `--${option}=${value}`);
    const child = spawn('ip', ['netns', 'exec', netns.name, program('nghttpx'), ...args], {
      env: { ...process.env, ...libraries() },
      stdio: 'ignore',
    });
    const proxy = new UpgradingProxy(child, folder);
    await eventually(() => {
      if (netns.exec(`ss -Hltn sport = :${port}`) === '') throw new Error('nghttpx has not started');
    });
    return proxy;
  }

  /** Returns the responses that the proxy has logged, by method and status. */
  log(): Answers {
    const lines = readFileSync(join(this.#folder, 'log'), 'utf8').trim().split('\n');
    const groups = Object.entries(Object.groupBy(lines, (line) => line));
    return Object.fromEntries(groups.map(([key, same]) => [key, same?.length ?? 0]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill();
    await ended;
    rmSync(this.#folder, { recursive: true });
  }
}

/** Makes requests by curl, which asks for an upgrade in the first one of a connection. Returns the versions of HTTP. */
export function curlUpgrading({ name }: TestNetns, ...args: readonly string[]): string[] {
  const command = ['netns', 'exec', name, program('curl'), '-s', '--http2', '-w', '%{http_version}\\n', ...args];
  return execFileSync('ip', command, { encoding: 'utf8' }).trim().split('\n');
}
