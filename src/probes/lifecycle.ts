import { uptime } from 'node:os';
import * as z from 'zod';
import { duration } from '#core/duration.ts';
import type { NetnsId } from '#core/netns.ts';
import { DEPARTURE_EVENTS, departureEvent, type End, totalsOf } from '#pods/departures.ts';
import { defineProbe, type ProbeScope } from '#probe/contract.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import type { NetnsDeath, NetnsDeparture } from '#probe/life.ts';
import { defineMetrics, NODE } from '#probe/metric.ts';
import { defineRetained, type Retained } from '#probe/retained.ts';
import type { MibIndex } from '#sources/mib/tables.ts';
import type { Sources } from '#sources/sources.ts';

// These reports are per network namespace: each one carries the cookie and the counters of a single namespace. Programs
// of the agent itself (pods/lifecycle.ts) report the creation and removal of namespaces even if this probe is disabled.

const metrics = defineMetrics({
  departures: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_departures_total',
    help: 'Pods, containers and named network namespaces that ended, by the source of their final counters.',
    source: 'workqueue:workqueue_execute_start of cleanup_net; the list of namespaces',
    detail: 'core',
    labels: {
      counters: {
        help: 'exact: the kernel reported the final counters. collected: the counters of the last scrape are final.',
        values: ['exact', 'collected'],
      },
    },
  },
});

/**
 * Maximum time in milliseconds for which an event waits for the removal of its namespace. Sockets may keep the
 * namespace alive.
 */
const WAIT_MS = 30_000;
/** Maximum number of pending departures. Any further one is published immediately, without counters. */
const WAITING_MAX = 1_024;

const NANOSECONDS_PER_MS = 1_000_000n;

type Departed = ProbeScope<typeof DEPARTURE_EVENTS>;

/** Numbers of departures by the source of their final counters. */
interface Counts {
  readonly exact: number;
  readonly collected: number;
}

const DEPARTURES = defineRetained<Counts>(() => ({ exact: 0, collected: 0 }));

interface Waiting {
  readonly departure: NetnsDeparture;
  /** Facts about the end of the entity that are known before the kernel's report arrives. */
  readonly end: End;
  readonly sinceMs: number;
}

/** Combines the departures that discovery reports with the kernel's reports about removed namespaces. */
class Departures {
  readonly #scope: Departed;
  readonly #sources: Sources;
  readonly #publishes: boolean;
  /** MIB layout in the kernel's reports; undefined if the kernel does not report removals. */
  readonly #index: MibIndex | undefined;
  readonly #waiting = new Map<NetnsId, Waiting>();
  readonly #counts: Retained<Counts>;

  constructor(scope: Departed, sources: Sources, publishes: boolean, index: MibIndex | undefined) {
    this.#scope = scope;
    this.#sources = sources;
    this.#publishes = publishes;
    this.#index = index;
    this.#counts = scope.retained(DEPARTURES);
  }

  get counts(): Counts {
    return this.#counts.value;
  }

  /**
   * Holds a departure until the kernel's report arrives. If no report is expected, or if too many departures are held,
   * publishes it immediately.
   */
  departed(departure: NetnsDeparture): void {
    const end = { timeNs: BigInt(Date.now()) * NANOSECONDS_PER_MS, bootSeconds: uptime(), totals: undefined };
    if (this.#index === undefined || this.#waiting.size >= WAITING_MAX) this.#publish(departure, end);
    else this.#waiting.set(departure.id, { departure, end, sinceMs: performance.now() });
  }

  died({ id, row, timeNs, bootSeconds }: NetnsDeath, isShown: boolean): void {
    if (isShown) this.#sources.mib.last.keep(id, row);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined || this.#index === undefined) return;
    this.#waiting.delete(id);
    this.#publish(waiting.departure, { timeNs, bootSeconds, totals: totalsOf(this.#index, row) });
  }

  /**
   * Publishes departures without final counters if the kernel's report does not arrive in time. Drops departures whose
   * namespace has reappeared.
   */
  expire(nowMs: number): void {
    const alive = new Set(this.#sources.netns.snapshot().map(({ id }) => id));
    for (const [id, { departure, end, sinceMs }] of this.#waiting) {
      const isBack = alive.has(id);
      if (!isBack && nowMs - sinceMs < WAIT_MS) continue;
      this.#waiting.delete(id);
      if (!isBack) this.#publish(departure, end);
    }
  }

  #publish(departure: NetnsDeparture, end: End): void {
    const { exact, collected } = this.counts;
    const isExact = end.totals !== undefined;
    this.#counts.value = { exact: exact + (isExact ? 1 : 0), collected: collected + (isExact ? 0 : 1) };
    if (!this.#publishes) return;
    const ledger = this.#scope.retained(EVENT_LEDGER);
    const before = ledger.value;
    ledger.value = { ...before, produced: before.produced + 1n };
    this.#scope.publish('pod_departed', departureEvent(departure, end));
  }
}

export const lifecycle = defineProbe({
  name: 'lifecycle',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Final counters of ended Pods, which are exported for a while, and an event for each ended Pod. Covers even Pods that live for milliseconds.',
  guide: {
    question: 'Which Pods started and ended between two scrapes, and what were their final counters?',
    when: 'Look here when Jobs or crashing Pods end before their counters were scraped.',
    query: 'sum by (node, counters) (increase(netsonde_departures_total[1h]))',
    limits: [
      'A process that is forked but never executes a program is found only by the next scan.',
      'While the probe is disabled, ended Pods are not shown and cause no events. Counts of Pods that live for milliseconds still get the name of the Pod.',
      'The page [Who owns a number](identity.md) explains the final values of an ended Pod.',
    ],
  },
  metrics,
  events: DEPARTURE_EVENTS,
  options: {
    retire: duration('2m').describe(
      'Time for which the final values of a Pod, container or named network namespace are shown after its end. Must be longer than the scrape interval of every scraper.',
    ),
    share: z
      .number()
      .min(0)
      .max(1)
      .default(0.25)
      .describe(
        'Maximum fraction of the exported owners that may have ended; 16 are always allowed. Owners with losses are preferred, then owners with other problems, then the most recent ones.',
      ),
  },
  inPlace: ['retire', 'share'],
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'BTF and bpf_loop (5.19) for the programs of discovery. Without them the probe relies on scans of the machine.',
  },
  measured: {
    note: "Attaches no programs of its own. It uses the records of discovery's programs, which always run; nearly all of their hits come from the node itself. When a program is executed in a namespace that has no owner or is younger than a minute, its cgroup is looked up, which takes 5 µs.",
  },
  open: async (scope, sources, settings) => {
    const { life } = scope;
    const index = life.tellsDeaths ? sources.mib.index : undefined;
    const departures = new Departures(scope, sources, settings.events, index);
    let { options } = settings;
    scope.own(
      life.watch({
        get retireMs() {
          return options.retire / 1e6;
        },
        get retireShare() {
          return options.share;
        },
        beforeLook: () => departures.expire(performance.now()),
        departed: (departure) => departures.departed(departure),
        died: (death, isShown) => departures.died(death, isShown),
      }),
    );
    return {
      apply: (changed) => {
        options = changed.options;
        return true;
      },
      health: () => life.health,
      uncounted: () => (life.untoldDeaths === undefined ? {} : { map_full: life.untoldDeaths }),
      ledger: () => scope.retained(EVENT_LEDGER).value,
      collect: async (emit) => {
        emit('departures', NODE, departures.counts.exact, { counters: 'exact' });
        emit('departures', NODE, departures.counts.collected, { counters: 'collected' });
      },
    };
  },
});
