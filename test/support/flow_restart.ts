import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import { AgentProcess } from './agent_process.ts';
import type { Exposition } from './exposition.ts';
import { type FlowMetric, flowSeries, seriesName } from './flow_page.ts';
import type { FlowSums } from './flow_sums.ts';
import { FlowTraffic, type TrafficKind } from './flow_traffic.ts';
import { only } from './kernel.ts';
import { eventually } from './oracle.ts';

const COUNTED = ['sent', 'received', 'connections'] as const satisfies readonly FlowMetric[];
type Counted = (typeof COUNTED)[number];
type Amounts = Readonly<Record<Counted, number>>;

/**
 * Seconds between two scrapes. The interval is configured in the agent, which shows a new row as 0 for two or three
 * scrapes.
 */
const INTERVAL_SECONDS = 1;
/** Number of scrapes between two restarts, which is enough for every row to show its value. */
const SCRAPES = 10;
/** Kinds of traffic that always use the same edges. */
const WEIGHTS: Partial<Record<TrafficKind, number>> = { short: 20, chat: 20, hold: 3, release: 3, abort: 2 };
const BURST = 60;

export interface RestartsReport {
  readonly restarts: number;
  readonly scrapes: number;
  /** Traffic that is missing from all increases between two scrapes. */
  readonly lost: Amounts;
  /** Traffic between the last scrape before each restart and the first scrape after it. */
  readonly between: Amounts;
  readonly truth: Amounts;
}

/**
 * Adds up increases between scrapes as a Prometheus server does. If a value is lower than the previous one, the counter
 * has restarted, so the whole value counts as an increase.
 */
class Increases {
  readonly #pods: readonly string[];
  readonly #last = new Map<string, number>();
  /** Series of the agent that is running. A series that an earlier agent had may reappear at any later scrape. */
  readonly #current = new Set<string>();
  readonly #sums: Record<Counted, number> = { sent: 0, received: 0, connections: 0 };
  /** Series whose value decreased while an agent was running. */
  readonly fallen: string[] = [];

  constructor(pods: readonly string[]) {
    this.#pods = pods;
  }

  scrape(page: Exposition, isRestarted: boolean): void {
    if (isRestarted) this.#current.clear();
    for (const series of flowSeries(page, this.#pods)) {
      const metric = COUNTED.find((name) => name === series.metric);
      if (metric === undefined) continue;
      const name = seriesName(series);
      const last = this.#last.get(name);
      const isCurrent = this.#current.has(name);
      this.#last.set(name, series.value);
      this.#current.add(name);
      if (last === undefined) continue;
      if (series.value < last && isCurrent) this.fallen.push(name);
      this.#sums[metric] += series.value < last ? series.value : series.value - last;
    }
  }

  get sums(): Amounts {
    return { ...this.#sums };
  }
}

function amountsOf({ rows }: FlowSums, limit: 0 | 1): Amounts {
  const sum = (metric: Counted) => rows.reduce((total, row) => total + row[metric][limit], 0);
  return { sent: sum('sent'), received: sum('received'), connections: sum('connections') };
}

const each = (of: (metric: Counted) => number): Amounts => ({
  sent: of('sent'),
  received: of('received'),
  connections: of('connections'),
});
const plus = (a: Amounts, b: Amounts) => each((metric) => a[metric] + b[metric]);
const minus = (a: Amounts, b: Amounts) => each((metric) => a[metric] - b[metric]);

/**
 * The scraper of a run, with the increases that it has added up and the generator's sums before and after its scrapes.
 */
class Scrapes {
  readonly #traffic: FlowTraffic;
  readonly increases: Increases;
  count = 0;
  /**
   * The generator's sums before the latest scrape. Before the first scrape, the sums before the first agent was
   * started.
   */
  before: FlowSums;
  /**
   * Traffic between agents: from the last scrape of an agent, or the beginning, to the first scrape of the next agent.
   */
  between: Amounts = { sent: 0, received: 0, connections: 0 };

  constructor(traffic: FlowTraffic, before: FlowSums) {
    this.#traffic = traffic;
    this.increases = new Increases([traffic.a.name, traffic.b.name]);
    this.before = before;
  }

  /** Scrapes a newly started agent as soon as it has a page. */
  async first(agent: AgentProcess): Promise<void> {
    const earlier = this.before;
    await eventually(() => this.next(agent, true));
    const after = await this.#traffic.sums();
    this.between = plus(this.between, minus(amountsOf(after, 1), amountsOf(earlier, 0)));
  }

  async next(agent: AgentProcess, isRestarted = false): Promise<void> {
    const before = await this.#traffic.sums();
    this.increases.scrape(await agent.page(), isRestarted);
    this.before = before;
    this.count++;
  }
}

/**
 * Restarts an agent several times while traffic is running, and scrapes it like a Prometheus server. Checks that no
 * series decreases while an agent runs, that no traffic is counted twice, and that only traffic between the last scrape
 * before a restart and the first one after it is lost.
 */
export async function restartUnderTraffic(restarts: number): Promise<RestartsReport> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'restart-'));
  const config = join(folder.path, 'config.yaml');
  // The limits are high enough to show all edges, so none of them moves to `*` and back.
  const flow = { enabled: true, edges: 1_000, ports: 1_000, identity: 'address', loopback: true };
  writeFileSync(config, only({ flow }, { limits: { scrapeInterval: `${INTERVAL_SECONDS}s` } }));
  await using traffic = await FlowTraffic.start({ addresses: 4, seed: String(process.pid) });
  const begin = await traffic.sums();
  const scrapes = new Scrapes(traffic, begin);
  let isPlaying = true;
  const playing = (async () => {
    while (isPlaying) await traffic.play(WEIGHTS, BURST);
  })();
  const stop = async () => {
    isPlaying = false;
    await playing;
  };
  try {
    for (let restart = 0; restart < restarts; restart++) await runOnce(config, scrapes);
    await using agent = await AgentProcess.serve(['--config', config]);
    await scrapes.first(agent);
    await scrapeFor(agent, scrapes);
    await stop();
    const truth = minus(amountsOf(await traffic.rest(), 0), amountsOf(begin, 0));
    return await eventually(async () => {
      await scrapes.next(agent);
      const { between, count, increases } = scrapes;
      const lost = minus(truth, increases.sums);
      for (const metric of COUNTED) {
        expect(lost[metric]).toBeGreaterThanOrEqual(0);
        expect(lost[metric]).toBeLessThanOrEqual(between[metric]);
      }
      expect(increases.fallen).toEqual([]);
      return { restarts, scrapes: count, lost, between, truth };
    });
  } finally {
    await stop();
  }
}

/** Starts an agent, scrapes it for a while, and stops it. */
async function runOnce(config: string, scrapes: Scrapes): Promise<void> {
  await using agent = await AgentProcess.serve(['--config', config]);
  await scrapes.first(agent);
  await scrapeFor(agent, scrapes);
  agent.signal('SIGTERM');
  expect(await agent.exited).toEqual({ code: 0, signal: null });
}

async function scrapeFor(agent: AgentProcess, scrapes: Scrapes): Promise<void> {
  for (let turn = 0; turn < SCRAPES; turn++) {
    await wait(INTERVAL_SECONDS * 1_000);
    await scrapes.next(agent);
  }
}
