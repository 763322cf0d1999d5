import { setTimeout as wait } from 'node:timers/promises';
import { liveAndDie } from '../../test/support/dying_netns.ts';
import { uniqueName } from '../../test/support/hosts.ts';
import { type Row, type Spread, spreadOf } from '../measure.ts';
import { type BedKind, makeBed } from './bed.ts';
import { type Subject, startSubjects } from './subject.ts';
import { cpuMsOf, netOfIdle, type Use, wakeupsOf } from './threads.ts';

const MB = 1e6;
/** Time during which the agent repeats its scans after a new namespace appears. */
const YOUNG_MS = 11_000;
/** Time for work that the agent does after a scrape, such as garbage collection. */
const SETTLE_MS = 5_000;
const FIRST_EVERY_MS = 1_000;
const MS_PER_SECOND = 1_000;
const DYING_SECONDS = 120;
const DYING_EVERY_SECONDS = 5;
const DYING_LIFE_SECONDS = 3;
const DYING_LOSES_EVERY = 50;
/** Minimum CPU time, in milliseconds per scrape or per idle second, for which a thread gets its own row. */
const SHOWN_MS = 0.1;
const SHOWN_WAKEUPS = 0.5;

export interface LivedOptions {
  readonly bed: BedKind;
  /** Number of namespaces or Pods. */
  readonly count: number;
  /** Number of Services to which each Pod is connected. Only for Pods. */
  readonly edges: number;
  /** Scrape intervals in seconds, which are measured one after the other. */
  readonly everySeconds: readonly number[];
  /** Number of measured scrapes of each process at each interval. */
  readonly scrapes: number;
  /** Number of scrapes before the measurement, one per second. */
  readonly before: number;
  readonly idleSeconds: number;
  /**
   * Number of namespaces that are created within two minutes, after the other measurements. Each exists for three
   * seconds, and every fiftieth of them drops packets.
   */
  readonly dying: number;
  /** Directories of other built checkouts, which are measured in the same run. */
  readonly baselines: readonly string[];
}

interface Bounds {
  readonly cpuMs: number;
}

/** Limits for each scrape, by number of Pods. They are the same for all intervals. */
const BOUNDS: Readonly<Record<number, Bounds>> = { 110: { cpuMs: 12 }, 220: { cpuMs: 22 } };
const ANONYMOUS_MB = 60;
const IDLE_MS_PER_SECOND = 1;
const IDLE_WAKEUPS = 5;

/**
 * Measures the CPU time of an agent under production conditions: bin/netsonde starts it, scrapes arrive over HTTP at
 * the interval of a Prometheus server, and the CPU time is read from /proc. The processes are scraped alternately, in
 * reverse order in every other round.
 */
export async function benchLived(options: LivedOptions): Promise<Row[]> {
  const { bed: kind, count, edges, before, scrapes, everySeconds, idleSeconds, baselines } = options;
  await using resources = new AsyncDisposableStack();
  const bed = resources.use(await makeBed(kind, count, edges));
  const subjects = await startSubjects(bed, baselines, resources);
  await wait(YOUNG_MS);
  const rows = new Rows(`lived, ${bed.what}`, count);
  if (before > 0) {
    const { uses } = await askInTurn(subjects, before, FIRST_EVERY_MS);
    // The CPU time of the idle agent is measured later, so it cannot be subtracted here.
    for (const [subject, found] of uses)
      rows.add(subject, `CPU of the first ${before} scrapes, idle in it`, 'ms', spreadOf(found.map(cpuMsOf)));
  }
  await wait(SETTLE_MS);
  const idle = await measureIdle(subjects, idleSeconds * MS_PER_SECOND);
  for (const [subject, use] of idle) rows.addIdle(subject, use);
  for (const seconds of everySeconds) {
    const before = new Map(subjects.map((subject) => [subject, subject.asked]));
    const { uses, all } = await askInTurn(subjects, scrapes, seconds * MS_PER_SECOND);
    for (const subject of subjects) {
      const what = `each ${seconds} s, after ${before.get(subject)} scrapes`;
      rows.addScrapes(subject, what, { uses: get(uses, subject), all: get(all, subject), idle: get(idle, subject) });
    }
  }
  for (const subject of subjects) rows.addState(subject);
  if (options.dying > 0) await measureDying(subjects, options.dying, idle, rows);
  return rows.rows;
}

/**
 * Measures the CPU time of a scrape while namespaces are removed. Also counts the removed namespaces on the last page.
 */
async function measureDying(
  subjects: readonly Subject[],
  count: number,
  idle: ReadonlyMap<Subject, Use>,
  rows: Rows,
): Promise<void> {
  const before = new Map(subjects.map((subject) => [subject, subject.page]));
  const prefix = uniqueName('dying');
  const rate = count / DYING_SECONDS;
  const dying = liveAndDie({ prefix, count, losesEvery: DYING_LOSES_EVERY, lifeSeconds: DYING_LIFE_SECONDS, rate });
  const { uses } = await askInTurn(subjects, DYING_SECONDS / DYING_EVERY_SECONDS, DYING_EVERY_SECONDS * MS_PER_SECOND);
  await dying;
  for (const subject of subjects) {
    await subject.scrape();
    const net = get(uses, subject).map((use) => netOfIdle(use, get(idle, subject)).get('all') ?? 0);
    const what = `while ${count} namespaces die`;
    rows.add(subject, `CPU of a scrape less idle, every ${DYING_EVERY_SECONDS} s, ${what}`, 'ms', spreadOf(net));
    rows.add(
      subject,
      `series of the page, ${what}, relative to before`,
      '',
      subject.page.series / get(before, subject).series,
    );
    const losers = new Set(subject.page.text.match(new RegExp(`pod="${prefix}\\d+",reason=`, 'g')));
    rows.add(
      subject,
      `namespaces on the page of ${Math.ceil(count / DYING_LOSES_EVERY)} that lost packets, ${what}`,
      '',
      losers.size,
    );
  }
}

function get<K, V>(map: ReadonlyMap<K, V>, key: K): V {
  const value = map.get(key);
  if (value === undefined) throw new Error('a process was not measured');
  return value;
}

/**
 * Scrapes each process `rounds` times. `all` contains the CPU use of each process from the start of the first round to
 * the end of the last one.
 */
async function askInTurn(subjects: readonly Subject[], rounds: number, everyMs: number) {
  const uses = new Map<Subject, Use[]>(subjects.map((subject) => [subject, []]));
  const begun = new Map(subjects.map((subject) => [subject, subject.times()]));
  let dueMs = performance.now();
  for (let round = 0; round < rounds; round++) {
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const use = await subject.scrape();
      if (use !== undefined) uses.get(subject)?.push(use);
    }
    dueMs += everyMs;
    await wait(Math.max(0, dueMs - performance.now()));
  }
  const all = new Map(subjects.map((subject) => [subject, subject.times().since(get(begun, subject))]));
  return { uses, all };
}

async function measureIdle(subjects: readonly Subject[], forMs: number): Promise<Map<Subject, Use>> {
  const before = new Map(subjects.map((subject) => [subject, subject.times()]));
  await wait(forMs);
  return new Map(subjects.map((subject) => [subject, subject.times().since(get(before, subject))]));
}

class Rows {
  readonly rows: Row[] = [];
  readonly #bench: string;
  readonly #count: number;

  constructor(bench: string, count: number) {
    this.#bench = bench;
    this.#count = count;
  }

  /** Adds a row. @param atMost limit for this checkout; baselines and the node exporter have none */
  add({ name }: Subject, what: string, unit: string, measured: number | Spread, atMost?: number): void {
    const isAsked = atMost !== undefined && name === 'netsonde' && this.#count in BOUNDS;
    this.rows.push({
      bench: `${this.#bench}: ${name}`,
      what,
      unit,
      ...(typeof measured === 'number' ? { value: measured } : { value: measured.median, spread: measured }),
      ...(isAsked ? { bound: { atMost } } : {}),
    });
  }

  addIdle(subject: Subject, use: Use): void {
    const perSecond = (value: number) => (value / use.elapsedMs) * MS_PER_SECOND;
    this.add(subject, 'idle, CPU', 'ms/s', perSecond(cpuMsOf(use)), IDLE_MS_PER_SECOND);
    this.add(subject, 'idle, wakeups', '/s', perSecond(wakeupsOf(use)), IDLE_WAKEUPS);
    for (const [name, { cpuMs, wakeups }] of use.threads) {
      if (perSecond(wakeups) < SHOWN_WAKEUPS && perSecond(cpuMs) < SHOWN_MS) continue;
      this.add(subject, `idle, CPU of ${name}`, 'ms/s', perSecond(cpuMs));
      this.add(subject, `idle, wakeups of ${name}`, '/s', perSecond(wakeups));
    }
  }

  addScrapes(
    subject: Subject,
    what: string,
    { uses, all, idle }: { readonly uses: readonly Use[]; readonly all: Use; readonly idle: Use },
  ): void {
    const net = uses.map((use) => netOfIdle(use, idle));
    const ofThread = (name: string) => spreadOf(net.map((byThread) => byThread.get(name) ?? 0));
    this.add(subject, `CPU of a scrape less idle, ${what}`, 'ms', ofThread('all'), BOUNDS[this.#count]?.cpuMs);
    for (const name of new Set(net.flatMap((byThread) => [...byThread.keys()]))) {
      const spread = ofThread(name);
      if (name !== 'all' && spread.median >= SHOWN_MS) this.add(subject, `of it ${name}, ${what}`, 'ms', spread);
    }
    // Unlike the rows above, this row also includes work that a scrape causes more than 0.3 s after its start.
    this.add(subject, `CPU, all of it, ${what}`, 'ms/s', (cpuMsOf(all) / all.elapsedMs) * MS_PER_SECOND);
  }

  addState(subject: Subject): void {
    const { page, failed, anonymousBytes, workingSetBytes } = subject;
    if (failed > 0) this.add(subject, 'scrapes without an answer', '', failed);
    const after = `after ${subject.asked} scrapes`;
    this.add(subject, `RssAnon ${after}`, 'MB', anonymousBytes / MB, ANONYMOUS_MB);
    if (workingSetBytes !== undefined) this.add(subject, `working set ${after}`, 'MB', workingSetBytes / MB);
    this.add(subject, 'series', '', page.series);
    this.add(subject, 'page', 'kB', page.bytes / 1_000);
    this.add(subject, 'page as sent, gzip', 'kB', page.sentBytes / 1_000);
  }
}
