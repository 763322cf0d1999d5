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

// Births and deaths are told by the agent's own programs (pods/lifecycle.ts), whether this probe runs or not.
// Namespaced: yes. What is told of a namespace is told with its cookie; the counters are its own.

const metrics = defineMetrics({
  departures: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_departures_total',
    help: 'Pods, containers and named network namespaces that are gone, by whether the kernel has told their last counters.',
    source: 'workqueue:workqueue_execute_start of cleanup_net; the list of namespaces',
    detail: 'core',
    labels: {
      counters: {
        help: 'exact: as they were at the end; collected: those of the last scrape before.',
        values: ['exact', 'collected'],
      },
    },
  },
});

/** A namespace that is left may live on by its last sockets, and is then waited for so long with the event. */
const WAIT_MS = 30_000;
/** Departures that wait; one more goes without counters. */
const WAITING_MAX = 1_024;

const NANOSECONDS_PER_MS = 1_000_000n;

type Departed = ProbeScope<typeof DEPARTURE_EVENTS>;

/** Departures, by what is known of the last counters. */
interface Counts {
  readonly exact: number;
  readonly collected: number;
}

const DEPARTURES = defineRetained<Counts>(() => ({ exact: 0, collected: 0 }));

interface Waiting {
  readonly departure: NetnsDeparture;
  /** As far as it is known without the kernel. */
  readonly end: End;
  readonly sinceMs: number;
}

/** Joins what discovery knows of those who are gone with what the kernel has told of their ends. */
class Departures {
  readonly #scope: Departed;
  readonly #sources: Sources;
  readonly #publishes: boolean;
  /** Whether the kernel tells of ends at all. */
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

  /** Somebody is gone, or has left; the kernel's word follows. */
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

  /** Those of whose ends the kernel says nothing go without. */
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
    'What becomes of Pods that end: their last counters are shown for a while, with an event for each, also for those that live for milliseconds.',
  guide: {
    question: 'Which Pods came and went between two scrapes, and what had they counted to the end?',
    when: 'Look here when Jobs or crashing Pods are gone before anybody has seen their numbers.',
    query: 'sum by (node, counters) (increase(netsonde_departures_total[1h]))',
    limits: [
      'A process that is forked and never executes anything is found by the next look.',
      'Off, no dead Pod is shown and none has an event. Pods that live for milliseconds are named all the same.',
      'See [whose a number is](identity.md) for what the last values of a dead Pod are.',
    ],
  },
  metrics,
  events: DEPARTURE_EVENTS,
  options: {
    retire: duration('2m').describe(
      'So long the last values of a Pod, a container or a named network namespace are shown after its end. Two scrapers should both see them.',
    ),
    share: z
      .number()
      .min(0)
      .max(1)
      .default(0.25)
      .describe(
        'Share of all that are on the page that the dead take at most, but 16 of them always: first those that lost something, then those with other trouble, then the youngest.',
      ),
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'BTF and bpf_loop (5.19), for the programs of discovery; without them it runs, and sees what a look at the machine sees.',
  },
  open: async (scope, sources, settings) => {
    const { life } = scope;
    const index = life.tellsDeaths ? sources.mib.index : undefined;
    const departures = new Departures(scope, sources, settings.events, index);
    scope.own(
      life.watch({
        retireMs: settings.options.retire / 1e6,
        retireShare: settings.options.share,
        beforeLook: () => departures.expire(performance.now()),
        departed: (departure) => departures.departed(departure),
        died: (death, isShown) => departures.died(death, isShown),
      }),
    );
    return {
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
