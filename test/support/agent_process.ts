import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import { checkAnswer } from './contract.ts';
import { type Exposition, ExpositionParser } from './exposition.ts';
import { eventually } from './oracle.ts';

/** Returns the target of a link in /proc; undefined if the process has exited. */
function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

export const BIN = fileURLToPath(new URL('../../bin/netsonde', import.meta.url));

/** Maximum time until an agent has started on a busy machine. */
const START_MS = 110_000;

/** The only status code without a response body in our API. */
const NOT_MODIFIED = 304;

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** The bundled agent, which runs in its own process and listens on its own port. */
export class AgentProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #parser = new ExpositionParser();
  readonly exited: Promise<Exit>;
  stdout = '';
  stderr = '';
  /** Called with each chunk of stdout. */
  heard: (text: string) => void = () => undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    child.stdout?.on('data', (data) => {
      this.stdout += String(data);
      this.heard(String(data));
    });
    child.stderr?.on('data', (data) => {
      this.stderr += String(data);
    });
  }

  /**
   * Runs a command of the agent. @param wrapper command prefix @param bin path of the program, which may be in
   * another checkout
   */
  static run(
    args: readonly string[],
    wrapper: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
    bin = BIN,
  ): AgentProcess {
    const [command = bin, ...rest] = [...wrapper, bin, ...args];
    // The agent starts without a compile cache, as it does on a user's machine.
    const given = { ...process.env, NODE_COMPILE_CACHE: undefined, ...env };
    return new AgentProcess(spawn(command, rest, { env: given, stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  /** Starts `netsonde serve`, and waits until it listens. */
  static async serve(
    args: readonly string[] = [],
    wrapper: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
    bin = BIN,
  ): Promise<AgentProcess> {
    const agent = AgentProcess.run(['serve', '--listen', '127.0.0.1:0', ...args], wrapper, env, bin);
    await eventually(() => {
      if (agent.url === undefined) throw new Error(`the agent does not serve:\n${agent.stderr}`);
    }, START_MS);
    return agent;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get url(): string | undefined {
    const address = /serves on (\S+)/.exec(this.stderr)?.[1];
    return address === undefined ? undefined : `http://${address}`;
  }

  /** Sends a GET request over a new connection so that no idle connection stays open. */
  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return new Promise((resolve, reject) => {
      const call = request(`${this.url}${path}`, { headers, agent: false }, (response) => {
        const { statusCode = 0, headers: given } = response;
        const encoding = given['content-encoding'];
        const body = encoding === 'gzip' ? response.pipe(createGunzip()) : response;
        const hasBody = statusCode !== NOT_MODIFIED;
        if (!hasBody) response.resume();
        resolve(
          new Response(hasBody ? (Readable.toWeb(body) as ReadableStream<Uint8Array>) : null, {
            status: statusCode,
            headers: Object.entries(given).map(([name, value]) => [name, String(value)] as [string, string]),
          }),
        );
      });
      call.once('error', reject);
      call.end();
    });
  }

  /** Sends a GET request over a Unix socket, and returns the status code. */
  overUnix(socketPath: string, path: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath, path, agent: false }, (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode ?? 0));
      });
      call.once('error', reject);
      call.end();
    });
  }

  /** Requests a path and parses the response. @throws if the response does not match the API's schema */
  async json<T>(path: string): Promise<T> {
    const response = await this.get(path);
    const body: unknown = await response.json();
    checkAnswer(path, response.status, body);
    return body as T;
  }

  async page(): Promise<Exposition> {
    return this.#parser.parse(await (await this.get('/metrics')).text());
  }

  get descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Returns how many of the agent's descriptors have this kind of object as the target of their link in /proc. */
  descriptorsOf(thing: string): number {
    const folder = `/proc/${this.pid}/fd`;
    return readdirSync(folder).filter((fd) => readLink(`${folder}/${fd}`) === thing).length;
  }

  /** IDs of the agent's BPF programs. */
  get programs(): string[] {
    const ids: string[] = [];
    for (const fd of readdirSync(`/proc/${this.pid}/fdinfo`)) {
      try {
        const id = /^prog_id:\s+(\d+)$/m.exec(readFileSync(`/proc/${this.pid}/fdinfo/${fd}`, 'utf8'))?.[1];
        if (id !== undefined) ids.push(id);
      } catch (error) {
        // The descriptor was closed after the directory was listed.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    return [...new Set(ids)];
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signal('SIGKILL');
    await this.exited;
  }
}
