import { setTimeout as wait } from 'node:timers/promises';
import { rowsEach } from '#probe/flow_room.ts';
import { FLOW_ROWS_MAX } from '#probe/tcp_ends_object.ts';
import type { Exposition } from './exposition.ts';
import { FlowOracle } from './flow_oracle.ts';
import type { FlowSums } from './flow_sums.ts';
import { type FlowTraffic, TRAFFIC_KINDS, type TrafficKind } from './flow_traffic.ts';
import { only, probesOf, TestKernel } from './kernel.ts';

/** An agent that shows flows. */
export interface FlowAgent extends AsyncDisposable {
  page(): Promise<Exposition>;
}

export interface FlowRunOptions {
  readonly traffic: FlowTraffic;
  readonly open: () => Promise<FlowAgent>;
  /** Number of comparisons while no traffic is running. */
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
 * Number of rows for each Pod. With `MANY_ROWS`, all keys have a row; with `FEW_ROWS`, only some do. The limit also
 * applies to the owners of all other namespaces on this machine.
 */
export const MANY_ROWS = 192;
export const FEW_ROWS = 24;

/** Shows all edges by peer address, because the traffic generator counts by address. */
const BY_ADDRESS = { enabled: true, detail: 'full', identity: 'address', loopback: true } as const;

/**
 * Opens an agent that shows flows.
 * @param each number of rows of each Pod
 * @param options further options of the probe
 */
export function flowAgent(
  each: number,
  options: object = {},
  probes: Readonly<Record<string, unknown>> = {},
): () => Promise<FlowAgent> {
  return async () => {
    const agent = await TestKernel.open(only({}));
    const entities = await agent.kernel.entities();
    const rows = rowsFor(each, entities.filter(({ kind }) => kind !== 'process').length);
    await agent.kernel.configure(probesOf(only({ flow: { ...BY_ADDRESS, rows, ...options }, ...probes })));
    return agent;
  };
}

/** Returns the lowest power of two that gives each owner at least `each` rows. */
function rowsFor(each: number, owners: number): number {
  let rows = 16;
  while (rowsEach(rows, owners) < each) rows *= 2;
  if (rows > FLOW_ROWS_MAX) throw new Error(`there are too many owners for ${each} rows each: ${owners}`);
  return rows;
}

/** A run in which rows, and edges on the page, are evicted to make space for new ones. */
export const PRESSED = { open: flowAgent(FEW_ROWS), connections: 120, scrapers: 3 } as const;

/** Returns the number of retransmitted segments over all edges of a Pod. */
export function retransmitted({ named }: Exposition, pod: string): number {
  const series = named.get('netsonde_flow_retransmitted_segments_total') ?? [];
  return series.reduce((sum, { labels, value }) => sum + (labels['pod'] === pod ? Number(value) : 0), 0);
}

/**
 * Limits of the random pause between two scrapes by the same scraper: in milliseconds, and as a multiple of the time
 * that the last scrape took. The multiple keeps scrapes of large pages from taking the CPU time of the traffic.
 */
const PAUSE_MAX = { ms: 60, scrapes: 3 };
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

/**
 * Generates traffic in bursts while several scrapers read pages at random times. Compares all values after each burst.
 */
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
    for (let tookMs = 0; !end.aborted; ) {
      await wait(Math.random() * Math.max(PAUSE_MAX.ms, PAUSE_MAX.scrapes * tookMs));
      const startMs = performance.now();
      await this.#scrape(scraper, moment);
      tookMs = performance.now() - startMs;
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
