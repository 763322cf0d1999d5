import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { constants, gzipSync } from 'node:zlib';
import type { AgentProcess } from '../test/support/agent_process.ts';

const INTERVAL_MS = 1_000;
const TEAMS = 10;
/** Process name in this bench's Pods, which distinguishes them from other Pods on the machine. */
export const PROCESS = 'sizing';
const OWNER = /[{,]pod="([^"]*)"/;
/** Matches the labels of a Pod without a Kubernetes namespace. */
const UNNAMED = /namespace="",pod="([^"]+)"/g;

/** A metrics page as text, and the same page compressed as it is sent. */
export interface Page {
  readonly text: string;
  readonly gzip: Buffer;
}

/** Removes the lines of Pods that do not belong to this bench. */
export function ownPods(page: string): string {
  return page
    .split('\n')
    .filter((line) => {
      const pod = OWNER.exec(line)?.[1] ?? '';
      return pod === '' || pod.startsWith(PROCESS);
    })
    .join('\n');
}

/** Replaces Pod names with names as long as those in a cluster, because every series contains them. */
export class Names {
  readonly #known = new Map<string, string>();

  of(pod: string): { readonly namespace: string; readonly pod: string } {
    const index = this.#known.size;
    const name = this.#known.get(pod) ?? `checkout-6f9c7d5b8-${index.toString(36).padStart(5, 'x')}`;
    this.#known.set(pod, name);
    return { namespace: `production-${name.charCodeAt(name.length - 1) % TEAMS}`, pod: name };
  }

  on(page: string): string {
    return page.replaceAll(UNNAMED, (_, name: string) => {
      const { namespace, pod } = this.of(name);
      return `namespace="${namespace}",pod="${pod}"`;
    });
  }
}

/**
 * Scrapes one agent every second, and serves its page to Prometheus under many paths, one for each simulated node.
 * Prometheus thus scrapes real pages although only one agent is running.
 */
export class NodePages implements AsyncDisposable {
  readonly #agent: AgentProcess;
  readonly #server: Server;
  readonly #names = new Names();
  readonly #loop: Promise<void>;
  #isClosed = false;
  #page: Page | undefined;
  #type = '';
  /** Whether the server returns pages. Until then, it responds with 503. */
  isOpen = false;

  private constructor(agent: AgentProcess, server: Server) {
    this.#agent = agent;
    this.#server = server;
    this.#loop = this.#run();
  }

  static async start(agent: AgentProcess): Promise<NodePages> {
    const server = createServer((_request, response) => {
      const page = pages.isOpen ? pages.#page : undefined;
      if (page === undefined) response.writeHead(503).end();
      else response.writeHead(200, { 'content-type': pages.#type, 'content-encoding': 'gzip' }).end(page.gzip);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const pages = new NodePages(agent, server);
    return pages;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The agent's latest page. @throws if the agent has not returned one yet */
  get page(): Page {
    if (this.#page === undefined) throw new Error('the agent has given no page');
    return this.#page;
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      const startMs = performance.now();
      const response = await this.#agent.get('/metrics');
      this.#type = response.headers.get('content-type') ?? '';
      const text = this.#names.on(ownPods(await response.text()));
      this.#page = { text, gzip: gzipSync(text, { level: constants.Z_BEST_SPEED }) };
      await wait(Math.max(0, startMs + INTERVAL_MS - performance.now()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#loop;
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
