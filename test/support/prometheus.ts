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
  /** Address in the form `host:port`. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface PrometheusOptions {
  readonly targets: readonly Target[];
  readonly ruleFile?: string;
  /** If set, the server drops the series of all other Pods so that other tests cannot slow it down. */
  readonly pods?: readonly string[];
  /** Additional scrape configurations. */
  readonly jobs?: readonly object[];
  /** Scrape interval in seconds. */
  readonly intervalSeconds?: number;
  /**
   * Value of the external label `replica`. Servers with different values scrape the same targets at different times.
   */
  readonly replica?: string;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * A Prometheus server that scrapes and evaluates rules every second by default. scripts/setup --test fetches the
 * program.
 */
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

  /** Starts a server, and waits until it responds. */
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
    // The file is written as JSON, which is also valid YAML.
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
        '--enable-feature=exemplar-storage',
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

  /** Returns the server's own metrics. */
  async page(): Promise<Exposition> {
    return parseExposition(await (await fetch(`${this.#url}/metrics`)).text());
  }

  /** Path of the server's database. */
  get data(): string {
    return join(this.#directory, 'data');
  }

  /** Returns the result of each job's last scrape: `up` or the error. */
  async outcomes(): Promise<Record<string, string>> {
    const { activeTargets } = await this.get<{
      activeTargets: { scrapePool: string; health: string; lastError: string }[];
    }>('targets?state=active');
    return Object.fromEntries(
      activeTargets.map(({ scrapePool, health, lastError }) => [scrapePool, health === 'up' ? 'up' : lastError]),
    );
  }

  /** Writes all data as blocks, and returns the path of their directory. */
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

  /** Returns all samples of the last `seconds` by series. Sample times are in seconds. */
  async samples(selector: string, seconds: number): Promise<Series[]> {
    const { result } = await this.get<{ result: { metric: Record<string, string>; values: [number, string][] }[] }>(
      `query?query=${encodeURIComponent(`${selector}[${seconds}s]`)}`,
    );
    return result.map(({ metric, values }) => ({
      labels: metric,
      samples: values.map(([time, value]) => ({ time, value: Number(value) })),
    }));
  }

  /** Returns all exemplars. */
  async exemplars(
    selector: string,
  ): Promise<readonly { readonly labels: Record<string, string>; readonly value: string }[]> {
    const series = await this.get<{ exemplars: { labels: Record<string, string>; value: string }[] }[]>(
      `query_exemplars?query=${encodeURIComponent(selector)}&start=0&end=4102444800`,
    );
    return series.flatMap(({ exemplars }) => exemplars);
  }

  /** Evaluates an instant query at the current time. The result must be a vector. */
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
