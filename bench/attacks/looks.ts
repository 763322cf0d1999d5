import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { AgentProcess } from '../../test/support/agent_process.ts';
import type { TestNetns } from '../../test/support/hosts.ts';
import { cpuMsOf, ThreadTimes } from '../lived/threads.ts';

const LOOK_EVERY_MS = 250;
/** Number of measurements per scrape. The victim drops one packet during each measurement. */
const SCRAPE_EVERY = 8;
const LOSE = "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', 9))";

/** Latencies and sizes at one moment, as a user of the agent sees them. */
interface Look {
  /** Response time of `/healthz` over a new connection, as for a kubelet's probe. */
  readonly newMs: number;
  /** Response time of `/healthz` over a keep-alive connection. */
  readonly keptMs: number;
  readonly scrapeMs: number;
  /**
   * CPU time of all threads of the agent during the scrape. The CPU time is less than the duration of the scrape if
   * other processes use the CPUs.
   */
  readonly scrapeCpuMs: number;
  readonly pageBytes: number;
  readonly rssKiB: number;
}

/** Measures the agent from the outside. During each measurement, makes a victim on the agent's node drop a packet. */
export class Looks implements Disposable {
  readonly #agent: AgentProcess;
  readonly #victim: TestNetns;
  readonly #kept = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #all: Look[] = [];
  /** Number of packets that the victim has dropped. */
  lost = 0;
  /** Number of connections that the agent closed before it responded, and that were reopened. */
  reopened = 0;

  constructor(agent: AgentProcess, victim: TestNetns) {
    this.#agent = agent;
    this.#victim = victim;
  }

  async during(ms: number): Promise<void> {
    const endMs = performance.now() + ms;
    for (let look = 0; performance.now() < endMs; look++) {
      this.#victim.python(LOSE);
      this.lost++;
      const newMs = await this.#timed(() => this.#health(false));
      const keptMs = await this.#timed(() => this.#health(this.#kept));
      let pageBytes = 0;
      const used = ThreadTimes.of(this.#agent.pid);
      const scrapeMs =
        look % SCRAPE_EVERY === 0
          ? await this.#timed(async () => {
              const headers = { 'accept-encoding': 'gzip' };
              pageBytes = (await (await this.#agent.get('/metrics', headers)).text()).length;
            })
          : 0;
      const scrapeCpuMs = look % SCRAPE_EVERY === 0 ? cpuMsOf(ThreadTimes.of(this.#agent.pid).since(used)) : 0;
      this.#all.push({ newMs, keptMs, scrapeMs, scrapeCpuMs, pageBytes, rssKiB: residentKiB(this.#agent) });
      await wait(LOOK_EVERY_MS);
    }
  }

  most(what: keyof Look): number {
    return Math.max(...this.#all.map((look) => look[what]));
  }

  [Symbol.dispose](): void {
    this.#kept.destroy();
  }

  /** Requests `/healthz`, and waits for the response. @param agent connection pool; `false` opens a new connection */
  #health(agent: Agent | false): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = request(`${this.#agent.url}/healthz`, { agent }, (response) => {
        response.resume();
        response.once('end', () => (response.statusCode === 200 ? resolve() : reject(new Error('not healthy'))));
        response.once('error', reject);
      });
      call.once('error', reject);
      call.end();
    });
  }

  /** Measures the duration of `work`, including retries. The agent may close connections while too many are open. */
  async #timed(work: () => Promise<void>): Promise<number> {
    const startMs = performance.now();
    for (;;) {
      try {
        await work();
        return performance.now() - startMs;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
        this.reopened++;
      }
    }
  }
}

export function residentKiB({ pid }: AgentProcess): number {
  const found = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1]);
}
