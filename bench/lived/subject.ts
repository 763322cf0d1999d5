import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { basename, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { AgentProcess } from '../../test/support/agent_process.ts';
import { MemoryGroup } from '../../test/support/memory_group.ts';
import { eventually } from '../../test/support/oracle.ts';
import type { Bed } from './bed.ts';
import { ThreadTimes, type Use } from './threads.ts';

const KB = 1024;
const TREE = fileURLToPath(new URL('../..', import.meta.url));
const EXPORTER = 'prometheus-node-exporter';
/** The request headers that Prometheus sends. */
const HEADERS = {
  accept: 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1',
  'accept-encoding': 'gzip',
  'user-agent': 'Prometheus/2.42.0',
  'x-prometheus-scrape-timeout-seconds': '10',
};
/**
 * Time from the request over which the CPU use of a scrape is measured. It includes work that the agent does after the
 * response.
 */
const SCRAPE_MS = 300;

interface Page {
  readonly text: string;
  readonly series: number;
  readonly bytes: number;
  /** Size of the compressed response body. */
  readonly sentBytes: number;
}

interface Started extends AsyncDisposable {
  readonly pid: number;
  /** Address in the form host:port. */
  readonly address: string;
}

/** A process that is scraped. Its CPU and memory use are measured from the outside. */
export class Subject implements AsyncDisposable {
  readonly name: string;
  readonly #started: Started;
  readonly #memory: MemoryGroup;
  /** Keeps one connection open for all scrapes, as Prometheus does. */
  readonly #connection = new Agent({ keepAlive: true, maxSockets: 1 });
  page: Page = { text: '', series: 0, bytes: 0, sentBytes: 0 };
  asked = 0;
  /** Number of scrapes whose response contained no page, which happens on an overloaded machine. */
  failed = 0;

  private constructor(name: string, started: Started, memory: MemoryGroup) {
    this.name = name;
    this.#started = started;
    this.#memory = memory;
  }

  static async netsonde(name: string, tree: string, { args, env }: Bed): Promise<Subject> {
    const bin = join(tree, 'bin/netsonde');
    return Subject.#start(name, async (wrapper) => {
      const agent = await AgentProcess.serve(args, wrapper, env, bin);
      return {
        pid: agent.pid,
        address: new URL(agent.url ?? '').host,
        [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose](),
      };
    });
  }

  /** Starts Debian's node exporter. Returns undefined if it is neither installed nor downloaded. */
  static async nodeExporter(): Promise<Subject | undefined> {
    const program = [`/usr/bin/${EXPORTER}`, join(TREE, '.cache', EXPORTER)].find((path) => existsSync(path));
    if (program === undefined) return undefined;
    return Subject.#start('node_exporter', async ([command = program, ...rest]) => {
      const args = command === program ? [] : [...rest, program];
      const child = spawn(command, [...args, '--web.listen-address=127.0.0.1:0'], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const exited = once(child, 'exit');
      let log = '';
      child.stderr.on('data', (data) => {
        log += String(data);
      });
      const dispose = async () => {
        child.kill('SIGKILL');
        await exited;
      };
      const address = await eventually(() => {
        const [, found] = /msg="Listening on" address=(\S+)/.exec(log) ?? [];
        if (found === undefined) throw new Error(`${EXPORTER} does not serve:\n${log}`);
        return found;
      });
      return { pid: child.pid ?? 0, address, [Symbol.asyncDispose]: dispose };
    });
  }

  static async #start(name: string, start: (wrapper: readonly string[]) => Promise<Started>): Promise<Subject> {
    const memory = MemoryGroup.make();
    await using resources = new AsyncDisposableStack();
    resources.use(memory);
    const started = resources.use(await start(memory.wrapper));
    const subject = new Subject(name, started, memory);
    await eventually(() => subject.#ask());
    resources.move();
    return subject;
  }

  /**
   * Requests the page, and returns the CPU use of all threads until 0.3 s after the request; undefined if the response
   * contains no page.
   */
  async scrape(): Promise<Use | undefined> {
    const before = this.times();
    this.asked++;
    const [sent] = await Promise.all([this.#ask().catch(() => undefined), wait(SCRAPE_MS)]);
    const use = this.times().since(before);
    if (sent === undefined) {
      this.failed++;
      return undefined;
    }
    const text = gunzipSync(sent).toString();
    this.page = {
      text,
      series: text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length,
      bytes: Buffer.byteLength(text),
      sentBytes: sent.length,
    };
    return use;
  }

  times(): ThreadTimes {
    return ThreadTimes.of(this.#started.pid);
  }

  /** RssAnon of /proc/PID/status, in bytes. */
  get anonymousBytes(): number {
    const status = readFileSync(`/proc/${this.#started.pid}/status`, 'utf8');
    return Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]) * KB;
  }

  /** The working set in bytes, as the kubelet computes it; undefined if no cgroup can be created. */
  get workingSetBytes(): number | undefined {
    return this.#memory.workingSetBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.destroy();
    await this.#started[Symbol.asyncDispose]();
    await this.#memory[Symbol.asyncDispose]();
  }

  #ask(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const url = `http://${this.#started.address}/metrics`;
      const call = request(url, { headers: HEADERS, agent: this.#connection }, (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.once('error', reject);
        answer.once('end', () => {
          if (answer.statusCode === 200 && answer.headers['content-encoding'] === 'gzip') resolve(Buffer.concat(parts));
          else reject(new Error(`${this.name} answered ${answer.statusCode}, not compressed`));
        });
      });
      call.once('error', reject);
      call.end();
    });
  }
}

/** Starts the agents of this checkout and of the baselines, and the node exporter. */
export async function startSubjects(bed: Bed, baselines: readonly string[], resources: AsyncDisposableStack) {
  const subjects = [resources.use(await Subject.netsonde('netsonde', TREE, bed))];
  for (const tree of baselines) subjects.push(resources.use(await Subject.netsonde(basename(tree), tree, bed)));
  const exporter = await Subject.nodeExporter();
  if (exporter !== undefined) subjects.push(resources.use(exporter));
  return subjects;
}
