import { setTimeout as wait } from 'node:timers/promises';
import type { Exposition } from './exposition.ts';
import { FlowOracle } from './flow_oracle.ts';
import type { FlowSums } from './flow_sums.ts';
import { type FlowTraffic, TRAFFIC_KINDS, type TrafficKind } from './flow_traffic.ts';
import { only, TestKernel } from './kernel.ts';

/** An agent that shows flows. */
export interface FlowAgent extends AsyncDisposable {
  page(): Promise<Exposition>;
}

export interface FlowRunOptions {
  readonly traffic: FlowTraffic;
  readonly open: () => Promise<FlowAgent>;
  /** Number of comparisons that are made while no traffic is running. */
  readonly rests: number;
  /** Number of connections between two of these comparisons. */
  readonly connections: number;
  readonly scrapers: number;
  /** Indexes of comparisons after which the agent is restarted while traffic is running. */
  readonly restarts: readonly number[];
  /** Whether every edge must be shown with all of its traffic since the start of the agent. */
  readonly isComplete?: boolean;
}

export interface FlowRunResult {
  /** One sentence per violation, including the time of the comparison. */
  readonly violations: readonly string[];
  readonly scrapes: number;
  readonly rests: number;
  /** Number of compared edge series whose values were equal. */
  readonly exact: number;
  /** Number of compared edge series that were incomplete because part of their traffic was counted under `*`. */
  readonly behind: number;
  /** Largest number of edges of any Pod on a page. */
  readonly edges: number;
  /** Page of the last comparison at rest. */
  readonly last: Exposition;
  readonly sums: FlowSums;
}

/**
 * Numbers of rows: `MANY_ROWS` has space for all keys. `FEW_ROWS` has space for only a few keys of each Pod, because the
 * Pods share three quarters of the rows.
 */
export const MANY_ROWS = 16_384;
export const FEW_ROWS = { all: 512, each: 24 } as const;

/** Opens an agent that shows flows, with these options of the probe. */
export function flowAgent(options: object, probes: Readonly<Record<string, unknown>> = {}): () => Promise<FlowAgent> {
  return () => TestKernel.open(only({ flow: { enabled: true, detail: 'full', ...options }, ...probes }));
}

/** A run in which the rows, and the edges on the page, have to be evicted to make space for new ones. */
export const PRESSED = { open: flowAgent({ rows: FEW_ROWS.all }), connections: 120, scrapers: 3 } as const;

/** Returns the number of retransmitted segments over all edges of a Pod. */
export function retransmitted({ named }: Exposition, pod: string): number {
  const series = named.get('netsonde_flow_retransmitted_segments_total') ?? [];
  return series.reduce((sum, { labels, value }) => sum + (labels['pod'] === pod ? Number(value) : 0), 0);
}

/** Maximum time between two scrapes by the same scraper, in milliseconds. */
const PAUSE_MAX_MS = 60;
/** Number of violations after which a run ends early. */
const VIOLATIONS_MAX = 50;
/** Number of concurrent connections per worker. */
const PARALLEL = 12;
/** Kinds of traffic that have to wait for a timer. They are rare, and only some of the bursts contain them. */
const SLOW: readonly TrafficKind[] = ['timeout', 'silent_peer', 'unreachable'];
const SLOW_EVERY = 6;
const WEIGHTS: Partial<Record<TrafficKind, number>> = { short: 30, chat: 30, hold: 4, release: 4, time_wait: 3 };

function weightsOf(burst: number): Partial<Record<TrafficKind, number>> {
  const kinds = TRAFFIC_KINDS.filter((kind) => burst % SLOW_EVERY === 0 || !SLOW.includes(kind));
  return Object.fromEntries(kinds.map((kind) => [kind, WEIGHTS[kind] ?? 1]));
}

/** Plays traffic in bursts while several scrapers read pages at random times. Compares all values after each burst. */
export async function runFlows(options: FlowRunOptions): Promise<FlowRunResult> {
  const run = new FlowRun(options);
  try {
    return await run.play();
  } finally {
    await run.close();
  }
}

class FlowRun {
  readonly #options: FlowRunOptions;
  readonly #pods: readonly string[];
  readonly #violations: string[] = [];
  #agent: FlowAgent | undefined;
  #oracle: FlowOracle | undefined;
  #scrapes = 0;
  #exact = 0;
  #behind = 0;
  #edges = 0;
  #last: { readonly page: Exposition; readonly sums: FlowSums } | undefined;

  constructor(options: FlowRunOptions) {
    this.#options = options;
    this.#pods = [options.traffic.a.name, options.traffic.b.name];
  }

  async play(): Promise<FlowRunResult> {
    const { rests, restarts } = this.#options;
    await this.#start();
    for (let rest = 0; rest < rests && this.#violations.length < VIOLATIONS_MAX; rest++) {
      await this.#burst(rest, restarts.includes(rest));
      await this.#rest(rest);
    }
    if (this.#last === undefined) throw new Error('there was no moment at rest');
    const { page: last, sums } = this.#last;
    return {
      violations: this.#violations,
      scrapes: this.#scrapes,
      rests,
      exact: this.#exact,
      behind: this.#behind,
      edges: this.#edges,
      last,
      sums,
    };
  }

  async close(): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
  }

  async #start(): Promise<void> {
    await this.close();
    this.#agent = undefined;
    this.#oracle = new FlowOracle(this.#pods, await this.#options.traffic.sums());
    this.#agent = await this.#options.open();
    await this.#scrape('first', 'at the start');
  }

  async #burst(rest: number, isRestarted: boolean): Promise<void> {
    const { traffic, connections, scrapers } = this.#options;
    const burst = new AbortController();
    const playing = traffic.play(weightsOf(rest), connections, PARALLEL).finally(() => burst.abort());
    if (isRestarted) await this.#start();
    const scraping = Array.from({ length: scrapers }, (_, index) =>
      this.#scrapeUntil(burst.signal, `scraper ${index}`, `burst ${rest}`),
    );
    await Promise.all([playing, ...scraping]);
  }

  async #scrapeUntil(end: AbortSignal, scraper: string, moment: string): Promise<void> {
    while (!end.aborted) {
      await wait(Math.random() * PAUSE_MAX_MS);
      await this.#scrape(scraper, moment);
    }
  }

  async #scrape(scraper: string, moment: string): Promise<void> {
    const { traffic } = this.#options;
    const before = await traffic.sums();
    const page = await this.#page();
    const after = await traffic.sums();
    this.#scrapes++;
    const found = this.#oracle?.scrape(scraper, page, before, after) ?? [];
    this.#violations.push(...found.map((violation) => `${moment}, ${scraper}: ${violation}`));
  }

  async #rest(rest: number): Promise<void> {
    const sums = await this.#options.traffic.rest();
    const page = await this.#page();
    const found = this.#oracle?.rest(page, sums, this.#options.isComplete);
    if (found === undefined) return;
    this.#violations.push(...found.violations.map((violation) => `rest ${rest}: ${violation}`));
    this.#exact += found.exact;
    this.#behind += found.behind.length;
    this.#edges = Math.max(this.#edges, found.edges);
    this.#last = { page, sums };
  }

  async #page(): Promise<Exposition> {
    if (this.#agent === undefined) throw new Error('no agent runs');
    return await this.#agent.page();
  }
}
