import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Exposition, parseExposition } from './exposition.ts';
import { eventually } from './oracle.ts';

const FETCHED = fileURLToPath(new URL('../../.cache/prometheus', import.meta.url));

export interface QueryResult {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly samples: readonly { readonly time: number; readonly value: number }[];
}

export interface Target {
  /** `host:port` */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface PrometheusOptions {
  readonly targets: readonly Target[];
  readonly ruleFile?: string;
  /** Pods whose series it keeps, beside series without a Pod: those of other tests then cost nothing. */
  readonly pods?: readonly string[];
  /** Scrape configurations in addition to that of the targets. */
  readonly jobs?: readonly object[];
  /** Scrape interval, in seconds. */
  readonly intervalSeconds?: number;
  /** Distinguishes servers with the same targets, so that each scrapes at its own moments. */
  readonly replica?: string;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A Prometheus server that scrapes every second by default, and evaluates rules every second; scripts/setup --test fetches it. */
export class PrometheusServer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #url: string;
  readonly #exited: Promise<unknown>;
  #log = '';

  private constructor(child: ChildProcess, directory: string, url: string) {
    this.#child = child;
    this.#directory = directory;
    this.#url = url;
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
    child.stderr?.on('data', (data) => {
      this.#log += String(data);
    });
  }

  /** Resolves once the server answers. */
  static async start({
    targets,
    ruleFile,
    pods,
    jobs = [],
    intervalSeconds = 1,
    replica = '',
  }: PrometheusOptions): Promise<PrometheusServer> {
    const directory = mkdtempSync(join(tmpdir(), 'prometheus-'));
    const config = {
      global: {
        scrape_interval: `${intervalSeconds}s`,
        scrape_timeout: `${Math.min(intervalSeconds, 10)}s`,
        evaluation_interval: '1s',
        external_labels: { replica },
      },
      rule_files: ruleFile === undefined ? [] : [ruleFile],
      scrape_configs: [
        {
          job_name: 'netsonde',
          honor_labels: true,
          static_configs: targets.map(({ address, labels }) => ({ targets: [address], labels })),
          metric_relabel_configs:
            pods === undefined ? [] : [{ source_labels: ['pod'], regex: ['', ...pods].join('|'), action: 'keep' }],
        },
        ...jobs,
      ],
    };
    // JSON is YAML.
    writeFileSync(join(directory, 'prometheus.yml'), JSON.stringify(config));
    const address = `127.0.0.1:${await freePort()}`;
    const child = spawn(
      existsSync(FETCHED) ? FETCHED : 'prometheus',
      [
        `--config.file=${directory}/prometheus.yml`,
        `--storage.tsdb.path=${directory}/data`,
        `--web.listen-address=${address}`,
        '--web.enable-admin-api',
        '--log.level=warn',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const server = new PrometheusServer(child, directory, `http://${address}`);
    try {
      await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
      await eventually(() => server.query('vector(1)'), 15_000);
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw new Error(`Prometheus does not answer: ${server.#log}`, { cause: error });
    }
  }

  /** Its own metrics. */
  async page(): Promise<Exposition> {
    return parseExposition(await (await fetch(`${this.#url}/metrics`)).text());
  }

  /** The folder of its database. */
  get data(): string {
    return join(this.#directory, 'data');
  }

  /** Result of the last scrape of each job: `up`, or the error. */
  async outcomes(): Promise<Record<string, string>> {
    const { activeTargets } = await this.get<{
      activeTargets: { scrapePool: string; health: string; lastError: string }[];
    }>('targets?state=active');
    return Object.fromEntries(
      activeTargets.map(({ scrapePool, health, lastError }) => [scrapePool, health === 'up' ? 'up' : lastError]),
    );
  }

  /** Writes all its data as blocks, and returns their folder. */
  async snapshot(): Promise<string> {
    const { name } = await this.get<{ name: string }>('admin/tsdb/snapshot', 'POST');
    return join(this.data, 'snapshots', name);
  }

  async get<T>(path: string, method = 'GET'): Promise<T> {
    const response = await fetch(`${this.#url}/api/v1/${path}`, { method });
    const { status, data, error } = (await response.json()) as { status: string; data: T; error?: string };
    if (status !== 'success') throw new Error(`${path}: ${error}`);
    return data;
  }

  /** All samples of the last `seconds`, by series, each with its time in seconds. */
  async samples(selector: string, seconds: number): Promise<Series[]> {
    const { result } = await this.get<{ result: { metric: Record<string, string>; values: [number, string][] }[] }>(
      `query?query=${encodeURIComponent(`${selector}[${seconds}s]`)}`,
    );
    return result.map(({ metric, values }) => ({
      labels: metric,
      samples: values.map(([time, value]) => ({ time, value: Number(value) })),
    }));
  }

  /** An instant query that returns a vector, as of now. */
  async query(expression: string): Promise<QueryResult[]> {
    const { result } = await this.get<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
      `query?query=${encodeURIComponent(expression)}`,
    );
    return result.map(({ metric, value: [, value] }) => ({ labels: metric, value: Number(value) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.pid !== undefined && this.#child.exitCode === null) {
      this.#child.kill('SIGKILL');
      await this.#exited;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
