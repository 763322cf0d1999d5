import type { AgentReport } from '#api/agent.ts';
import type { ConfigReport } from '#api/config.ts';
import type { EntitiesReport, EntityStatus } from '#api/entities.ts';
import type { EventRecord } from '#api/events.ts';
import type { FlowsSummary } from '#api/flows.ts';
import type { IncidentsReport } from '#api/incidents.ts';
import type { LedgerReport } from '#api/ledger.ts';
import type { MapReport } from '#api/map.ts';
import type { ProbeReport, ProbesReport } from '#api/probes.ts';
import type { SinkStatus, SinksReport } from '#api/sinks.ts';
import type { Trouble } from '#api/trouble.ts';
import { eventsPath, followStream, getJson, keepToken, type Refusal, RefusedError } from './api.ts';
import { EventLog } from './event_log.ts';
import { FlowBook } from './flows/book.ts';
import { accountsOf, Balance } from './ledger.ts';
import type { Tab } from './location.ts';
import { MapBook } from './map/book.ts';
import { BpfCosts, CollectTimes } from './probe_view.ts';
import { RequestBook } from './requests/book.ts';
import { Rates } from './trouble.ts';

const TICK_MS = 2_000;
/** Interval between requests for data that the current tab does not show, but that the notes on tabs need. */
const SELDOM_MS = 10_000;
const TROUBLE_MS = 10_000;
const FLOWS_MS = 4_000;
/** HTTP status of a response if a probe is not running. */
const NOT_RUNNING = 409;
/** Minimum time between two updates of the shown events. */
const SHOW_EVERY_MS = 500;
const RETRY_MAX_MS = 10_000;

/** Responses of the agent. Each part is undefined until it has been received. */
export interface Answers {
  agent?: AgentReport;
  probes?: readonly ProbeReport[];
  config?: ConfigReport;
  sinks?: readonly SinkStatus[];
  ledger?: LedgerReport;
  incidents?: IncidentsReport;
  entities?: readonly EntityStatus[];
}

type Source = keyof Answers | 'trouble' | 'flows' | 'map';

interface Fetched {
  readonly path: string;
  /** Tabs that show the data. While none of them is open, the data is requested rarely or not at all. */
  readonly tabs: readonly Tab[];
  /** Other tabs that need the data. */
  readonly elsewhere: 'all' | readonly Tab[];
  readonly everyMs: number;
}

const SOURCES: Readonly<Record<Source, Fetched>> = {
  agent: {
    path: '/api/v1/agent',
    tabs: ['incidents', 'map', 'events', 'flows', 'requests', 'pods', 'probes', 'ledger', 'configuration'],
    elsewhere: 'all',
    everyMs: TICK_MS,
  },
  incidents: { path: '/api/v1/incidents', tabs: ['incidents'], elsewhere: 'all', everyMs: TICK_MS },
  probes: { path: '/api/v1/probes', tabs: ['probes'], elsewhere: 'all', everyMs: TICK_MS },
  config: { path: '/api/v1/config', tabs: ['configuration'], elsewhere: 'all', everyMs: TICK_MS },
  sinks: { path: '/api/v1/sinks', tabs: ['ledger'], elsewhere: 'all', everyMs: TICK_MS },
  ledger: { path: '/api/v1/ledger', tabs: ['ledger'], elsewhere: [], everyMs: TICK_MS },
  trouble: { path: '/api/v1/trouble', tabs: ['pods'], elsewhere: [], everyMs: TROUBLE_MS },
  // The map needs the owners of addresses in events, and the Pods of workloads.
  flows: { path: '/api/v1/flows', tabs: ['flows', 'requests'], elsewhere: ['map'], everyMs: FLOWS_MS },
  map: { path: '/api/v1/map', tabs: ['map'], elsewhere: [], everyMs: FLOWS_MS },
  entities: { path: '/api/v1/entities', tabs: [], elsewhere: ['map'], everyMs: SELDOM_MS },
};

/** Requests data from the agent while the page is visible, and stores the responses. */
export class Store {
  readonly answers: Answers = {};
  readonly log = new EventLog();
  readonly rates = new Rates();
  readonly flows = new FlowBook();
  readonly requests = new RequestBook();
  readonly map = new MapBook();
  readonly costs = new BpfCosts();
  readonly times = new CollectTimes();
  readonly balance = new Balance();
  /** Reason why the agent currently sends no usable responses; undefined if it does. */
  refusal: Refusal | undefined;
  /** Time of the last response according to the browser's clock. */
  heardMs: number | undefined;
  streaming = false;
  /** Reason why no events arrive although the agent responds; empty if there is none. */
  streamFailure = '';
  /** Number of milliseconds by which the node's clock is ahead of the browser's clock. */
  clockAheadMs = 0;
  readonly #changed: () => void;
  readonly #askedMs = new Map<Source, number>();
  /** Requests that fail although the agent is reachable. */
  readonly #failures = new Map<Source, string>();
  #tab: Tab;
  #ticking = false;
  #stream: AbortController | undefined;
  #retryMs = 0;
  #hasNews = false;
  #showTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(tab: Tab, changed: () => void) {
    this.#tab = tab;
    this.#changed = changed;
    document.addEventListener('visibilitychange', () => this.#wake());
    for (const change of ['online', 'offline']) addEventListener(change, () => this.#wake());
    setInterval(() => void this.#tick(), TICK_MS);
    this.#wake();
  }

  /** Describes the data that the agent does not provide; empty if none is missing. */
  get failure(): string {
    return [...new Set(this.#failures.values())].join('; ');
  }

  /** Returns the time of the node's clock, either now or when the node was last reached. */
  get nowMs(): number {
    const heard = this.refusal === undefined ? undefined : this.heardMs;
    return (heard ?? Date.now()) + this.clockAheadMs;
  }

  /** Returns the section of a probe in the configuration; undefined if it has none, or is not known yet. */
  sectionOf(probe: string): Readonly<Record<string, unknown>> | undefined {
    const sections = this.answers.config?.document['probes'] as Readonly<Record<string, unknown>> | undefined;
    return sections?.[probe] as Readonly<Record<string, unknown>> | undefined;
  }

  set tab(tab: Tab) {
    this.#tab = tab;
    void this.#tick();
  }

  set token(token: string) {
    keepToken(token);
    this.refusal = undefined;
    this.#wake();
  }

  #wake(): void {
    if (document.hidden) {
      this.#stream?.abort();
      this.#stream = undefined;
      return;
    }
    void this.#tick();
    if (this.#stream === undefined) void this.#follow();
  }

  /** Whether the agent refuses this page. If it does, the page waits for a token or retries rarely. */
  get #isRefused(): boolean {
    return this.refusal?.kind === 'token' || this.refusal?.kind === 'forbidden';
  }

  async #tick(): Promise<void> {
    if (document.hidden || this.#ticking) return;
    this.#ticking = true;
    try {
      const due = (Object.keys(SOURCES) as Source[]).filter((source) => this.#isDue(source));
      await Promise.all(due.map((source) => this.#ask(source)));
    } finally {
      this.#ticking = false;
      this.#changed();
    }
  }

  #isDue(source: Source): boolean {
    const { tabs, elsewhere, everyMs } = SOURCES[source];
    const isSeen = tabs.includes(this.#tab);
    if (!isSeen && elsewhere !== 'all' && !elsewhere.includes(this.#tab)) return false;
    if (this.refusal !== undefined && source !== 'agent') return false;
    const pauseMs = isSeen && !this.#isRefused ? everyMs : SELDOM_MS;
    // Half a tick of tolerance is needed because the timer is not exact.
    const dueMs = this.#isFirst(source) ? TICK_MS : pauseMs;
    return performance.now() - (this.#askedMs.get(source) ?? -SELDOM_MS) >= dueMs - TICK_MS / 2;
  }

  /** Whether the second reading of counters is requested early, because rates require two readings. */
  #isFirst(source: Source): boolean {
    if (source === 'trouble') return this.rates.seconds === 0;
    if (source !== 'flows' && source !== 'map') return false;
    const { history, unavailable } = this[source];
    return history.seconds === 0 && unavailable === '';
  }

  async #ask(source: Source): Promise<void> {
    const startMs = Date.now();
    this.#askedMs.set(source, performance.now());
    try {
      const answer = await getJson<unknown>(SOURCES[source].path);
      this.#failures.delete(source);
      this.#take(source, answer, startMs);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.#refuse(source, error.refusal);
    }
  }

  #refuse(source: Source, refusal: Refusal): void {
    this.#askedMs.set(source, refusal.kind === 'failed' ? performance.now() : -SELDOM_MS);
    if (refusal.kind !== 'failed') this.refusal = refusal;
    else if ((source === 'flows' || source === 'map') && refusal.status === NOT_RUNNING) {
      this[source].unavailable = refusal.message;
      this.#failures.delete(source);
    } else this.#failures.set(source, refusal.message);
    if (this.#isRefused) this.#askedMs.set('agent', performance.now());
  }

  #take(source: Source, answer: unknown, startMs: number): void {
    const endMs = Date.now();
    switch (source) {
      case 'agent':
        this.answers.agent = answer as AgentReport;
        this.clockAheadMs = Date.parse(this.answers.agent.now) - (startMs + endMs) / 2;
        this.heardMs = endMs;
        if (this.refusal !== undefined) this.#heal();
        break;
      case 'probes':
        this.answers.probes = (answer as ProbesReport).probes;
        this.costs.add(this.answers.probes, performance.now());
        this.times.add(this.answers.probes, performance.now());
        break;
      case 'config':
        this.answers.config = answer as ConfigReport;
        break;
      case 'sinks':
        this.answers.sinks = (answer as SinksReport).sinks;
        break;
      case 'incidents':
        this.answers.incidents = answer as IncidentsReport;
        break;
      case 'ledger':
        this.answers.ledger = answer as LedgerReport;
        this.balance.add(accountsOf(this.answers.ledger));
        break;
      case 'trouble':
        this.rates.add(answer as Trouble);
        break;
      case 'flows':
        this.flows.add(answer as FlowsSummary);
        this.requests.add(answer as FlowsSummary);
        break;
      case 'map':
        this.map.add(answer as MapReport);
        break;
      case 'entities':
        this.answers.entities = (answer as EntitiesReport).entities;
        break;
    }
  }

  /** Requests everything immediately after the agent has become reachable again. */
  #heal(): void {
    this.refusal = undefined;
    this.#askedMs.clear();
    this.#stream?.abort();
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const stream = new AbortController();
    this.#stream = stream;
    try {
      await followStream<EventRecord>({
        path: eventsPath(),
        lastId: this.log.lastId,
        signal: stream.signal,
        opened: () => {
          this.log.begin();
          this.#retryMs = 0;
          this.streaming = true;
          this.streamFailure = '';
          this.#show();
        },
        take: (records) => {
          if (this.log.add(records.map(({ id, value }) => ({ id, event: value }))) > 0) this.#show();
        },
      });
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.streamFailure = error.refusal.kind === 'failed' ? error.refusal.message : '';
    }
    if (this.#stream !== stream) return;
    this.streaming = false;
    this.#show();
    // The agent is usually unreachable at this point, so its state is requested again.
    this.#askedMs.delete('agent');
    void this.#tick();
    this.#retryMs = Math.min(RETRY_MAX_MS, Math.max(TICK_MS / 2, this.#retryMs * 2));
    setTimeout(() => {
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      if (!document.hidden && this.refusal === undefined) void this.#follow();
    }, this.#retryMs);
  }

  /** Updates the page immediately, unless it was just updated. */
  #show(): void {
    this.#hasNews = this.#showTimer !== undefined;
    if (this.#hasNews) return;
    this.#changed();
    this.#showTimer = setTimeout(() => {
      this.#showTimer = undefined;
      if (this.#hasNews) this.#show();
    }, SHOW_EVERY_MS);
  }
}
