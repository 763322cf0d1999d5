import { readlinkSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { type BpfObject, BpfRing, clockOffset } from 'bpf-napi';
import { mibRow, ownerNames } from '#bpf/generated/common.ts';
import { FILE, type Layout, lifeBirth, lifeDeath, lifeKind } from '#bpf/generated/lifecycle.ts';
import { duration } from '#core/duration.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { type ReaderHealth, Unsupported } from '#core/reader.ts';
import { DEPARTURE_EVENTS, departureEvent, type End, totalsOf } from '#pods/departures.ts';
import { defineProbe, type ProbeScope, type ProbeSettings, type Uncounted } from '#probe/contract.ts';
import { type EbpfInstance, openTally } from '#probe/ebpf.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { defineMetrics, NODE } from '#probe/metric.ts';
import { defineRetained, type Retained } from '#probe/retained.ts';
import { readMisses, type Tally } from '#probe/tally.ts';
import type { MibIndex } from '#sources/mib/tables.ts';
import type { NetnsDeparture } from '#sources/netns.ts';
import { pidNamespaceLevels } from '#sources/procfs/pid_namespace.ts';
import type { Sources } from '#sources/sources.ts';

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

const BIRTHS = 'Pods at once when they begin';
const DEATHS = 'last counters of Pods that end';
const EXECUTES = 'process_executes';
const STARTS = 'work_starts' satisfies Layout['program'];

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    { what: BIRTHS, optional: true, choices: [{ hooks: [hook('tp_btf/sched_process_exec', 1, EXECUTES)] }] },
    {
      what: DEATHS,
      optional: true,
      choices: [
        {
          hooks: [
            hook('tp_btf/workqueue_queue_work', 3, 'work_queued'),
            hook('tp_btf/workqueue_execute_start', 1, STARTS),
          ],
        },
      ],
    },
  ],
};

const RING: Layout['map'] = 'records';
const CPUS: Layout['map'] = 'percpu_cpus';
const DRAIN_EVERY_MS = 25;
const DRAIN_BYTES = 64 * 1024;
/** A full ring. */
const DRAINS_MAX = 10;
/** A copy takes up to a microsecond a CPU and namespace: two milliseconds of a run, and never fewer than these. */
const COPIES = 2_000;
const COPIES_MIN = 16;
/** A namespace that is left may live on by its last sockets, and is then waited for so long with the event. */
const WAIT_MS = 30_000;
/** Departures that wait; one more goes without counters. */
const WAITING_MAX = 1_024;

const NANOSECONDS = 1e-9;
const NANOSECONDS_PER_MS = 1_000_000n;

const MISSED = defineRetained<Uncounted>(() => ({}));

/** Nothing is counted in the kernel but what was missed. */
class Missed implements Tally {
  readonly #object: BpfObject;
  readonly #earlier: Retained<Uncounted>;

  constructor(object: BpfObject, earlier: Retained<Uncounted>) {
    this.#object = object;
    this.#earlier = earlier;
  }

  uncounted(): Uncounted {
    const { map_full, untracked } = readMisses(this.#object, this.#earlier.value);
    return { map_full, untracked };
  }

  sweep(): void {}

  remember(): void {
    this.#earlier.value = this.uncounted();
  }
}

type Departed = ProbeScope<typeof DEPARTURE_EVENTS>;
type Settings = ProbeSettings<{ retire: number }>;

/** Which PID namespace the births must be in, by inode number: 0, none, where we are not in that of /proc. */
function pidNamespace(proc: string): number {
  if (pidNamespaceLevels(proc) !== 0) return 0;
  return Number(/\d+/.exec(readlinkSync(join(proc, 'self/ns/pid')))?.[0]);
}

async function openHooks(scope: Departed, sources: Sources, settings: Settings): Promise<EbpfInstance<Missed>> {
  const { cpus, netns } = sources;
  const possible = cpus.possible();
  const instance = await openTally<Layout, Missed>(
    scope,
    sources,
    settings,
    {
      hooks,
      constants: {
        pid_namespace: pidNamespace(scope.paths.proc),
        node_netns: netns.node?.id ?? 0,
        possible_cpus: possible.length,
        deaths_max: Math.max(COPIES_MIN, Math.floor(COPIES / possible.length)),
      },
      helpers: ['loop', 'map_lookup_percpu_elem'],
      sizes: { mib_rows: 1, [CPUS]: possible.length },
    },
    (object) => new Missed(object, scope.retained(MISSED)),
  );
  const map = instance.object.map(CPUS);
  for (const [index, cpu] of possible.entries()) map.update(bytesOf(index), bytesOf(cpu));
  return instance;
}

function bytesOf(u32: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(u32).buffer);
}

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

  ended(id: NetnsId, row: Uint8Array, timeNs: bigint, bootSeconds: number): void {
    const { mib } = this.#sources;
    if (this.#scope.life.died(id)) mib.last.keep(id, row);
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

function openRing(object: BpfObject, departures: Departures, scope: Departed): BpfRing {
  const birth = (view: DataView, at: number) =>
    scope.life.born({
      id: asNetnsId(lifeBirth.netns(view, at)),
      inum: lifeBirth.inum(view, at),
      pid: lifeBirth.pid(view, at),
      startSeconds: Number(lifeBirth.start(view, at)) * NANOSECONDS,
      podFolder: ownerNames.podText(view, at + lifeBirth.offsets.owner),
      containerFolder: ownerNames.containerText(view, at + lifeBirth.offsets.owner),
    });
  const death = (view: DataView, at: number) => {
    const place = at + lifeDeath.offsets.row;
    const row = new Uint8Array(view.buffer.slice(place, place + mibRow.SIZE));
    const timeNs = BigInt(lifeDeath.time(view, at)) + clockOffset();
    departures.ended(
      asNetnsId(mibRow.cookie(view, place)),
      row,
      timeNs,
      Number(lifeDeath.boot(view, at)) * NANOSECONDS,
    );
  };
  return new BpfRing(object, RING, {
    recordBytesMax: lifeDeath.SIZE,
    intervalMs: DRAIN_EVERY_MS,
    bufferBytes: DRAIN_BYTES,
    onBatch: ({ view, forEach }) =>
      forEach((at) => (lifeBirth.kind(view, at) === lifeKind.birth ? birth(view, at) : death(view, at))),
    onError: (error) => scope.warn(`births and deaths could not be read: ${(error as Error).message}`),
  });
}

/** Takes all that is there now, not what comes meanwhile. */
function drain(ring: BpfRing, scope: Departed): void {
  try {
    for (let drains = 0; drains < DRAINS_MAX && ring.drain() > 0; drains++);
  } catch (error) {
    scope.warn(`births and deaths could not be read: ${(error as Error).message}`);
  }
}

const WITHOUT = 'Pods are found by the next look at the machine, and their last counters are those of the last scrape';

export const lifecycle = defineProbe({
  name: 'lifecycle',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Pods at their birth and at their death: those that live for milliseconds are seen, and last counters are shown for a while, with an event for each that is gone.',
  guide: {
    question: 'Which Pods came and went between two scrapes, and what had they counted to the end?',
    when: 'Look here when Jobs or crashing Pods are gone before anybody has seen their numbers.',
    query: 'sum by (node, counters) (increase(netsonde_departures_total[1h]))',
    limits: [
      'A process that is forked and never executes anything is found by the next look.',
      'See [whose a number is](identity.md) for what the last values of a dead Pod are.',
    ],
  },
  metrics,
  events: DEPARTURE_EVENTS,
  options: {
    retire: duration('2m').describe(
      'So long the last values of a Pod, a container or a named network namespace are shown after its end. Two scrapers should both see them.',
    ),
  },
  hooks,
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and bpf_loop (5.19); without them it runs, and sees what a look at the machine sees.',
  },
  open: async (scope, sources, settings) => {
    let instance: EbpfInstance<Missed> | undefined;
    let reason = '';
    try {
      instance = await openHooks(scope, sources, settings);
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      reason = error.message;
    }
    const seesDeaths = instance?.programs().some(({ name }) => name === STARTS) ?? false;
    const index = seesDeaths ? sources.mib.index : undefined;
    const departures = new Departures(scope, sources, settings.events, index);
    const ring = instance && scope.own(openRing(instance.object, departures, scope));
    scope.own(
      scope.life.watch({
        retireMs: settings.options.retire / 1e6,
        beforeLook: () => {
          if (ring !== undefined) drain(ring, scope);
          departures.expire(performance.now());
        },
        departed: (departure) => departures.departed(departure),
      }),
    );
    const running = instance?.running();
    const isBlind = instance !== undefined && pidNamespaceLevels(scope.paths.proc) !== 0;
    return {
      ...running,
      health: (): ReaderHealth => {
        if (running === undefined) return { reader: 'scan', degraded: [`${reason}: ${WITHOUT}`] };
        const health = running.health();
        if (!isBlind) return health;
        const blind = `${BIRTHS}: the agent is not in the PID namespace of its /proc (hostPID is missing)`;
        return { ...health, degraded: [...health.degraded, blind] };
      },
      ledger: () => scope.retained(EVENT_LEDGER).value,
      collect: async (emit) => {
        emit('departures', NODE, departures.counts.exact, { counters: 'exact' });
        emit('departures', NODE, departures.counts.collected, { counters: 'collected' });
      },
    };
  },
});
