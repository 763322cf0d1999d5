import type { Exposition } from './exposition.ts';
import { type FlowMetric, flowSeries, isEdge, type ShownSeries, seriesName, totalName } from './flow_page.ts';
import type { FlowRow, FlowSums, Range } from './flow_sums.ts';

/** Result of comparing a page with the generator's sums while no traffic is running. */
export interface AtRest {
  /** One sentence per violation. */
  readonly violations: readonly string[];
  /**
   * Number of edge series that equal the generator's sums, either in total or by their increase since the previous
   * comparison at rest.
   */
  readonly exact: number;
  /**
   * Edge series whose values are incomplete because part of the traffic was counted under `*`: the edge was missing
   * from the page at first, or for some time.
   */
  readonly behind: readonly string[];
  /** Largest number of edges of any Pod. */
  readonly edges: number;
}

/** Numbers by series name. */
interface Numbers<Value> {
  /** Numbers of individual edges. */
  readonly edges: ReadonlyMap<string, Value>;
  /** Sums over all series of a Pod, including traffic that is counted under `*`. */
  readonly totals: ReadonlyMap<string, Value>;
}

interface Scraped {
  /** Sums of the generator before the request. */
  readonly sums: Numbers<Range>;
  readonly page: Numbers<number>;
}

/** Metrics that are also compared while traffic is running. */
const COUNTERS: readonly FlowMetric[] = ['sent', 'received', 'connections'];
const ZERO: Range = [0, 0];

/**
 * Compares the pages of one run of an agent with the sums of a traffic generator. The agent counts from its start, so
 * its pages do not contain earlier traffic. They also lack an unknown part of the traffic during the start, which the
 * first comparison at rest determines.
 */
export class FlowOracle {
  readonly #pods: readonly string[];
  readonly #before: Numbers<Range>;
  /** Parts of the sums that are missing from all pages; undefined until the first page. */
  #missed: { edges: Map<string, Range>; totals: Map<string, Range> } | undefined;
  readonly #scrapers = new Map<string, Scraped>();
  /** Values and sums at the previous comparison at rest, for edge series that have been on every page since then. */
  readonly #rested = new Map<string, { readonly value: number; readonly sum: number }>();

  /**
   * @param pods names of the namespaces
   * @param before sums before the start of the agent
   */
  constructor(pods: readonly string[], before: FlowSums) {
    this.#pods = pods;
    this.#before = truthOf(before);
  }

  /**
   * Checks a page that was requested while traffic was running. No total and no edge may exceed the generator's sum
   * after the response, no total may be below the sum before the previous request of the same scraper, and no value may
   * decrease.
   *
   * @param before sums before the request
   * @param after sums after the response
   * @returns one sentence per violation
   */
  scrape(scraper: string, exposition: Exposition, before: FlowSums, after: FlowSums): string[] {
    const page = pageOf(flowSeries(exposition, this.#pods).filter(isCounter));
    const most = truthOf(after);
    this.#begin(most);
    this.#forgetAbsent(page);
    const last = this.#scrapers.get(scraper);
    this.#scrapers.set(scraper, { sums: truthOf(before), page });
    const missed = this.#missed;
    const tooHigh = [
      ...above(page.edges, most.edges, missed?.edges),
      ...above(page.totals, most.totals, missed?.totals),
    ];
    if (last === undefined) return tooHigh;
    const tooLow = below(page.totals, last.sums.totals, missed?.totals);
    return [...tooHigh, ...tooLow, ...fallen(page.edges, last.page.edges), ...fallen(page.totals, last.page.totals)];
  }

  /**
   * Checks a page that was requested while no traffic was running. All totals and all shown edges must equal the
   * generator's sums.
   *
   * @param isComplete whether every edge of the generator must be shown with all of its traffic
   */
  rest(exposition: Exposition, sums: FlowSums, isComplete = false): AtRest {
    const series = flowSeries(exposition, this.#pods);
    const page = pageOf(series);
    const truth = truthOf(sums);
    this.#begin(truth);
    this.#forgetAbsent(page);
    const violations = [...this.#compareTotals(page.totals, truth.totals)];
    const behind: string[] = [];
    let exact = 0;
    for (const one of series.filter((of) => isEdge(of) && of.metric !== 'open')) {
      const name = seriesName(one);
      const difference = this.#compareEdge(name, one.value, truth.edges.get(name)?.[0] ?? 0);
      if (difference > 0) violations.push(`${name}: ${one.value} at rest, ${difference} more than the generator has`);
      else if (difference < 0) behind.push(`${name}: ${one.value} at rest, ${-difference} less than the generator has`);
      else exact++;
    }
    if (isComplete) violations.push(...behind, ...absent(truth.edges, page.edges));
    return { violations, exact, behind, edges: mostEdges(series) };
  }

  #begin(after: Numbers<Range>): void {
    if (this.#missed !== undefined) return;
    const between = (to: ReadonlyMap<string, Range>, from: ReadonlyMap<string, Range>) =>
      new Map([...to].map(([name, [, max]]) => [name, [(from.get(name) ?? ZERO)[0], max] as const]));
    this.#missed = {
      edges: between(after.edges, this.#before.edges),
      totals: between(after.totals, this.#before.totals),
    };
  }

  /**
   * Compares totals. If a total is within the limits of its sum, the difference is recorded as the exact amount that is
   * missing from this total.
   */
  *#compareTotals(shown: ReadonlyMap<string, number>, truth: ReadonlyMap<string, Range>): Iterable<string> {
    for (const name of new Set([...shown.keys(), ...truth.keys()])) {
      const value = shown.get(name) ?? 0;
      const [min, max] = truth.get(name) ?? ZERO;
      const [missedMin, missedMax] = isGauge(name) ? ZERO : (this.#missed?.totals.get(name) ?? ZERO);
      const [least, most] = [min - missedMax, max - missedMin];
      if (value < least) yield `${name}: ${value} at rest, ${least - value} less than the generator has`;
      else if (value > most) yield `${name}: ${value} at rest, ${value - most} more than the generator has`;
      else if (!isGauge(name) && min === max) this.#missed?.totals.set(name, [min - value, min - value]);
    }
  }

  /**
   * Returns the difference between the value of an edge and the generator's sum; negative if the value is too small.
   */
  #compareEdge(name: string, value: number, sum: number): number {
    const last = this.#rested.get(name);
    this.#rested.set(name, { value, sum });
    if (last !== undefined) return value - last.value - (sum - last.sum);
    const [missedMin, missedMax] = this.#missed?.edges.get(name) ?? ZERO;
    return Math.max(0, value - (sum - missedMin)) + Math.min(0, value - (sum - missedMax));
  }

  #forgetAbsent({ edges }: Numbers<number>): void {
    for (const name of this.#rested.keys()) if (!edges.has(name)) this.#rested.delete(name);
  }
}

const isCounter = ({ metric }: ShownSeries) => COUNTERS.includes(metric);
const isGauge = (total: string) => total.endsWith(' open');

type Missed = ReadonlyMap<string, Range> | undefined;

function* above(
  shown: ReadonlyMap<string, number>,
  truth: ReadonlyMap<string, Range>,
  missed: Missed,
): Iterable<string> {
  for (const [name, value] of shown) {
    const most = (truth.get(name) ?? ZERO)[1] - (missed?.get(name) ?? ZERO)[0];
    if (value > most) yield `${name}: ${value} is ${value - most} above the generator's sum after the response`;
  }
}

function* below(
  shown: ReadonlyMap<string, number>,
  truth: ReadonlyMap<string, Range>,
  missed: Missed,
): Iterable<string> {
  for (const [name, [min]] of truth) {
    if (!COUNTERS.some((metric) => name.endsWith(` ${metric}`))) continue;
    const value = shown.get(name) ?? 0;
    const least = min - (missed?.get(name) ?? ZERO)[1];
    if (value < least) yield `${name}: ${value} is ${least - value} below the generator's sum at the previous scrape`;
  }
}

function* fallen(shown: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>): Iterable<string> {
  for (const [name, value] of shown) {
    const last = before.get(name) ?? value;
    if (value < last) yield `${name}: ${value} is ${last - value} below the same scraper's previous value`;
  }
}

function* absent(truth: ReadonlyMap<string, Range>, shown: ReadonlyMap<string, number>): Iterable<string> {
  for (const [name, [sum]] of truth) {
    if (sum > 0 && !shown.has(name)) yield `${name}: not shown, the generator has ${sum}`;
  }
}

/** Returns the largest number of edges of any Pod. */
function mostEdges(series: readonly ShownSeries[]): number {
  const byPod = new Map<string, number>();
  for (const { pod } of series.filter((one) => isEdge(one) && one.metric === 'connections')) {
    byPod.set(pod, (byPod.get(pod) ?? 0) + 1);
  }
  return Math.max(0, ...byPod.values());
}

function pageOf(series: readonly ShownSeries[]): Numbers<number> {
  const totals = new Map<string, number>();
  for (const one of series) totals.set(totalName(one), (totals.get(totalName(one)) ?? 0) + one.value);
  return { edges: new Map(series.filter(isEdge).map((one) => [seriesName(one), one.value])), totals };
}

function truthOf({ rows }: FlowSums): Numbers<Range> {
  const [edges, totals] = [new Map<string, Range>(), new Map<string, Range>()];
  for (const row of rows) {
    for (const { metric, cause, range } of countsOf(row)) {
      const one = { pod: row.netns, role: row.role, peer: row.peer, port: String(row.port), metric, cause, value: 0 };
      edges.set(seriesName(one), range);
      const [min, max] = totals.get(totalName(one)) ?? ZERO;
      totals.set(totalName(one), [min + range[0], max + range[1]]);
    }
  }
  return { edges, totals };
}

function countsOf(row: FlowRow): { metric: FlowMetric; cause: string; range: Range }[] {
  const byCause = (metric: 'failed' | 'ends') =>
    Object.entries(row[metric]).map(([cause, count]) => ({ metric, cause, range: [count, count] as const }));
  const others = (['sent', 'received', 'connections', 'open'] as const).map((metric) => ({
    metric,
    cause: '',
    range: row[metric],
  }));
  return [...others, ...byCause('failed'), ...byCause('ends')];
}
