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

// The agent's own programs (pods/lifecycle.ts) report births and deaths, whether this probe runs or not.
// Namespaced: yes. Reports of a namespace carry its cookie; the counters are its own.

const metrics = defineMetrics({
  departures: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_departures_total',
    help: 'Pods, containers and named network namespaces that are gone, by whether the kernel reported their last counters.',
    source: 'workqueue:workqueue_execute_start of cleanup_net; the list of namespaces',
    detail: 'core',
    labels: {
      counters: {
        help: 'exact: counters as of the end; collected: counters of the last scrape before the end.',
        values: ['exact', 'collected'],
      },
    },
  },
});

/** Longest wait of an event for the end of its namespace, which its last sockets may keep alive. */
const WAIT_MS = 30_000;
/** Most departures that wait; further ones are published without counters. */
const WAITING_MAX = 1_024;

const NANOSECONDS_PER_MS = 1_000_000n;

type Departed = ProbeScope<typeof DEPARTURE_EVENTS>;

/** Departures by how the last counters are known. */
interface Counts {
  readonly exact: number;
  readonly collected: number;
}

const DEPARTURES = defineRetained<Counts>(() => ({ exact: 0, collected: 0 }));

interface Waiting {
  readonly departure: NetnsDeparture;
  /** Departure as far as it is known without the kernel. */
  readonly end: End;
  readonly sinceMs: number;
}

/** Joins departures that discovery reports with the ends that the kernel reports. */
class Departures {
  readonly #scope: Departed;
  readonly #sources: Sources;
  readonly #publishes: boolean;
  /** Whether the kernel reports ends at all. */
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

  /** Takes a departure; the kernel's report follows. */
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

  /** Publishes departures without last counters where the kernel reports no end in time; drops those whose namespace is back. */
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
    'End of Pods: their last counters are shown for a while, with an event for each, also for Pods that live for milliseconds.',
  guide: {
    question: 'Which Pods came and went between two scrapes, and what were their last counters?',
    when: 'Look here when Jobs or crashing Pods are gone before their numbers were scraped.',
    query: 'sum by (node, counters) (increase(netsonde_departures_total[1h]))',
    limits: [
      'A process that is forked and never executes a program is found by the next scan.',
      'While the probe is off, no dead Pod is shown and none has an event. Pods that live for milliseconds are still named.',
      'The page [Who owns a number](identity.md) explains the last values of a dead Pod.',
    ],
  },
  metrics,
  events: DEPARTURE_EVENTS,
  options: {
    retire: duration('2m').describe(
      'Time for which the last values of a Pod, a container or a named network namespace are shown after its end. Choose it so that each of two scrapers sees them.',
    ),
    share: z
      .number()
      .min(0)
      .max(1)
      .default(0.25)
      .describe(
        'Largest share of all owners on the page that may be dead, though 16 dead ones are always shown: first those that lost something, then those with other problems, then the youngest.',
      ),
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'BTF and bpf_loop (5.19), for the programs of discovery; without them it runs, and sees what a scan of the machine finds.',
  },
  measured: {
    note: "Attaches nothing of its own: it uses the records of discovery's programs, which run all the time; nearly all their hits are on the node itself. In a namespace without an owner, or younger than a minute, an executed program is looked up in the cgroups, which takes 5 µs.",
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
