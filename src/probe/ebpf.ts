import { join } from 'node:path';
import { BpfError, type BpfMap, type BpfObject, BpfRing, clockOffset, jiffiesPerSecond } from 'bpf-napi';
import { type CommonLayout, eventLedger } from '#bpf/generated/common.ts';
import type { ObjectLayout } from '#bpf/layout.ts';
import { type Counter, readCounter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { FollowedPodFilter, PodFilter, PodFilters } from '#core/pod_filter.ts';
import type { ReaderHealth } from '#core/reader.ts';
import type { ObjectSpec } from '#sources/bpf/source.ts';
import { readText } from '#sources/procfs/read.ts';
import type { Sources } from '#sources/sources.ts';
import type { KernelLedger, ProbeScope, ProbeSettings, ProgramStatus, RunningProbe } from './contract.ts';
import { COUNTED, COUNTS, COUNTS_MAX, Counts } from './counts.ts';
import { type HookStatus, type HookTable, hookKind, type OpenHooks, openHooks } from './hooks.ts';
import { EVENT_LEDGER } from './ledger.ts';
import type { MetricSet } from './metric.ts';
import { defineRetained, type Retained } from './retained.ts';
import { NAMESPACES_MAX, Room } from './room.ts';
import { sumPerCpu, sweepMap, type Tally } from './tally.ts';

type CommonMap = CommonLayout['map'];
type CommonConstants = Partial<Record<CommonLayout['constant'], boolean | number>>;

/** What src/bpf/common/events.bpf.h puts into every object that has events. */
const RING: CommonMap = 'events';
const LEDGER: CommonMap = 'event_ledgers';
const BUCKETS: CommonMap = 'event_buckets';

/** What src/bpf/common/aim.bpf.h puts into every object that can be aimed. */
const AIMED: CommonMap = 'aimed_netns';

/** Events wait in the kernel for so long: a ring of 1 MiB holds 5,000 of 200 bytes, so 100,000 a second are no trouble. */
const DRAIN_EVERY_MS = 25;
const DRAIN_BYTES = 256 * 1024;

const NANOSECONDS = 1e-9;

export interface EbpfOptions<L extends ObjectLayout> {
  readonly hooks: HookTable<L['program']>;
  readonly constants?: ObjectSpec<L>['constants'];
  /** Entries of a map, or bytes of the ring, where they differ from the file's. */
  readonly sizes?: ObjectSpec<L>['sizes'];
  /** As {@link ObjectSpec.onDemand}. */
  readonly onDemand?: ObjectSpec<L>['onDemand'];
  /** BPF helpers that all programs need, without their `bpf_`. */
  readonly helpers?: readonly string[];
  /** The probe can have events; otherwise the object has no ring. */
  readonly events?: {
    /** Bytes of the longest record. */
    readonly recordBytesMax: number;
    /** @param wallNs turns the kernel's time of the record into nanoseconds since the epoch */
    onRecord(view: DataView, at: number, wallNs: (kernelTime: Counter) => bigint): void;
  };
}

/** Runs that the kernel has left out, by program. */
const MISSED = defineRetained<Readonly<Record<string, bigint>>>(() => ({}));

/** What earlier runs of a probe have counted. */
interface Earlier {
  readonly ledger: Retained<KernelLedger>;
  readonly missed: Retained<Readonly<Record<string, bigint>>>;
}

interface InstanceOptions<T extends Tally> {
  readonly proc: string;
  readonly tally: T;
  /** The object counts events. */
  readonly hasLedger?: boolean;
  /** Undefined: it is opened once. */
  readonly earlier?: Earlier;
  readonly aim?: MapAim | undefined;
  /** Maps that have an entry for each of what there is: a hash, which may be full. */
  readonly growing?: readonly string[];
}

function nothingEarlier(): Earlier {
  return { ledger: { value: EVENT_LEDGER.initial() }, missed: { value: MISSED.initial() } };
}

/** A loaded and attached object, and what every eBPF probe has to say of it. */
export class EbpfInstance<T extends Tally = Tally> {
  readonly object: BpfObject;
  readonly tally: T;
  readonly #proc: string;
  readonly #programs: readonly string[];
  readonly #hooks: readonly HookStatus[];
  readonly #hasLedger: boolean;
  readonly #earlier: Earlier;
  readonly #aim: MapAim | undefined;
  readonly #room: Room;
  readonly #growing: readonly string[];

  constructor(
    { object, programs, statuses }: OpenHooks,
    { proc, tally, hasLedger = false, earlier = nothingEarlier(), aim, growing = [] }: InstanceOptions<T>,
  ) {
    this.#proc = proc;
    this.object = object;
    this.tally = tally;
    this.#programs = programs;
    this.#hooks = statuses;
    this.#hasLedger = hasLedger;
    this.#earlier = earlier;
    this.#aim = aim;
    this.#room = new Room(tally);
    this.#growing = growing;
  }

  /** Namespaces that are dead make room for new ones. */
  sweep(isDead: (id: NetnsId) => boolean): void {
    const { object, tally } = this;
    const entries = tally.sweep(isDead);
    if (this.#growing.includes(tally.map)) this.#room.look(tally, tally.map, entries, object.map(tally.map).maxEntries);
    if (!this.#hasLedger) return;
    const buckets = object.map(BUCKETS);
    const left = sweepMap(buckets, (view, at) => isDead(asNetnsId(readCounter(view, at))));
    this.#room.lookAtBuckets(BUCKETS, left, buckets.maxEntries);
  }

  /** What a running eBPF probe has to say of itself, but for its own metrics. */
  running(): Omit<RunningProbe<MetricSet>, 'collect'> {
    return {
      health: () => this.#health(),
      programs: () => this.programs(),
      mapBytes: () => this.mapBytes(),
      ledger: () => this.ledger(),
      uncounted: () => this.tally.uncounted(),
      isShown: this.#aim === undefined ? undefined : (id) => this.#aim?.isAimed(id) === true,
    };
  }

  #health(): ReaderHealth {
    const hooks = this.#hooks.flatMap((status) => status.hooks);
    return {
      // Of many only the kinds; the programs are listed one by one.
      reader: hooks.length === 1 ? hooks.join() : [...new Set(hooks.map(hookKind))].join(', '),
      degraded: [
        ...this.#hooks.filter(({ reason }) => reason !== '').map(({ what, reason }) => `${what}: ${reason}`),
        ...(this.#aim?.degraded ?? []),
        ...this.#room.degraded,
      ],
    };
  }

  programs(): ProgramStatus[] {
    return this.#programs.map((name) => {
      const { id, runs, runNanoseconds, missed } = this.object.programInfo(name);
      return {
        name,
        hook: this.object.programs.find((program) => program.name === name)?.section ?? '',
        id,
        runs,
        runSeconds: Number(runNanoseconds) * NANOSECONDS,
        missed: missed + (this.#earlier.missed.value[name] ?? 0n),
      };
    });
  }

  /** Memory of each map in the kernel (man 5 proc, fdinfo). */
  mapBytes(): Record<string, number> {
    const bytes: Record<string, number> = {};
    for (const map of this.object.maps.values()) {
      const info = map.fd < 0 ? undefined : readText(join(this.#proc, 'self/fdinfo', String(map.fd)));
      const memlock = /^memlock:\s+(\d+)$/m.exec(info ?? '')?.[1];
      if (memlock !== undefined) bytes[map.name] = Number(memlock);
    }
    return bytes;
  }

  ledger(): KernelLedger {
    const { produced, limited, lost } = this.#earlier.ledger.value;
    if (!this.#hasLedger) return { produced, limited, lost };
    const now = sumPerCpu(this.object, LEDGER, eventLedger);
    return {
      produced: produced + BigInt(now.produced),
      limited: limited + BigInt(now.limited),
      lost: lost + BigInt(now.lost),
    };
  }

  /** Keeps what was counted so far for the next run. Once, when nothing counts any more. */
  remember(): void {
    const missed = Object.fromEntries(this.programs().map((program) => [program.name, program.missed]));
    this.#earlier.ledger.value = this.ledger();
    this.#earlier.missed.value = { ...this.#earlier.missed.value, ...missed };
  }
}

/**
 * Opens a probe that counts by common/counts.bpf.h.
 * @throws {Unsupported}
 */
export function openEbpf<L extends ObjectLayout>(
  scope: ProbeScope<Record<string, never>>,
  sources: Sources,
  settings: ProbeSettings<unknown>,
  options: EbpfOptions<L>,
): Promise<EbpfInstance<Counts>> {
  const onDemand = { [COUNTS]: COUNTS_MAX, ...options.onDemand };
  const countsOf = (object: BpfObject) => new Counts(object, scope.retained(COUNTED));
  return openTally(scope, sources, settings, { ...options, onDemand }, countsOf);
}

/**
 * Loads and attaches the hooks of a probe, drains its ring into `onRecord`, and keeps what it has counted when the scope
 * closes.
 * @param tallyOf what reads the counts of the object
 * @throws {Unsupported}
 */
export async function openTally<L extends ObjectLayout, T extends Tally>(
  scope: ProbeScope<Record<string, never>>,
  sources: Sources,
  settings: ProbeSettings<unknown>,
  options: EbpfOptions<L>,
  tallyOf: (object: BpfObject) => T,
): Promise<EbpfInstance<T>> {
  const { bpf, netns } = sources;
  const hasEvents = settings.events && options.events !== undefined;
  bpf.check();
  const open = await openHooks(bpf, options.hooks, specOf(options, settings, hasEvents));
  const object = scope.own(open.object);
  const tally = tallyOf(object);
  const aim =
    settings.aim === undefined ? undefined : scope.own(new MapAim(object.map(AIMED), settings.aim, scope.filters));
  const earlier = { ledger: scope.retained(EVENT_LEDGER), missed: scope.retained(MISSED) };
  const growing = Object.keys(options.onDemand ?? {});
  const instance = new EbpfInstance(open, {
    proc: scope.paths.proc,
    hasLedger: hasEvents,
    earlier,
    tally,
    aim,
    growing,
  });
  const ring =
    hasEvents && options.events !== undefined ? scope.own(openRing(object, options.events, scope)) : undefined;
  scope.own(netns.onSweep((isDead) => instance.sweep(isDead)));
  scope.own({
    [Symbol.dispose]: () => {
      object.detach();
      while (ring !== undefined && ring.drain() > 0);
      instance.remember();
      tally.remember();
    },
  });
  return instance;
}

/** Without events, or an aim, the code for them is dead, and its maps are not created. */
function specOf<L extends ObjectLayout>(
  { hooks, constants, sizes = {}, onDemand = {}, helpers = [], events }: EbpfOptions<L>,
  settings: ProbeSettings<unknown>,
  hasEvents: boolean,
): Omit<ObjectSpec, 'programs'> {
  const isAimed = settings.aim !== undefined;
  const spec = {
    file: hooks.file,
    helpers,
    sizes,
    onDemand: {
      ...onDemand,
      ...(isAimed ? { [AIMED]: NAMESPACES_MAX } : {}),
      ...(hasEvents ? { [BUCKETS]: NAMESPACES_MAX } : {}),
    },
    constants: isAimed ? { ...constants, ...({ aimed: true } satisfies CommonConstants) } : { ...constants },
    without: isAimed ? [] : [AIMED],
  };
  if (events === undefined) return spec;
  if (!hasEvents) return { ...spec, without: [...spec.without, RING, BUCKETS, LEDGER] };
  const forEvents: CommonConstants = {
    events_enabled: true,
    event_rate: settings.limit,
    jiffies_per_second: jiffiesPerSecond(),
  };
  return { ...spec, constants: { ...spec.constants, ...forEvents } };
}

/** Keeps the namespaces that a probe is aimed at in the map that its programs ask. */
class MapAim implements Disposable {
  readonly #aimed: FollowedPodFilter;
  /** Those that found no room. */
  readonly #outside = new Set<NetnsId>();

  constructor(map: BpfMap, aim: PodFilter, filters: PodFilters) {
    this.#aimed = filters.follow(aim, {
      add: (id) => this.#add(map, id),
      remove: (id) => {
        if (!this.#outside.delete(id)) map.delete(keyOf(id));
      },
    });
  }

  isAimed(id: NetnsId): boolean {
    return this.#aimed.isAimed(id);
  }

  get degraded(): string[] {
    const count = this.#outside.size;
    return count === 0 ? [] : [`${count} namespaces that it is aimed at are not seen: ${AIMED} holds no more`];
  }

  [Symbol.dispose](): void {
    this.#aimed[Symbol.dispose]();
  }

  #add(map: BpfMap, id: NetnsId): void {
    try {
      map.update(keyOf(id), YES);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      this.#outside.add(id);
    }
  }
}

const YES = Uint8Array.of(1);

function keyOf(id: NetnsId): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(id)).buffer);
}

function openRing(
  object: BpfObject,
  { recordBytesMax, onRecord }: NonNullable<EbpfOptions<ObjectLayout>['events']>,
  scope: ProbeScope<Record<string, never>>,
): BpfRing {
  return new BpfRing(object, RING, {
    recordBytesMax,
    intervalMs: DRAIN_EVERY_MS,
    bufferBytes: DRAIN_BYTES,
    onBatch: ({ view, forEach }) => {
      // Once a batch: a clock that is set takes effect at once, and events of a batch stay in order.
      const offset = clockOffset();
      forEach((at) => onRecord(view, at, (kernelTime) => BigInt(kernelTime) + offset));
    },
    onError: (error) => scope.warn(`events could not be read: ${(error as Error).message}`),
  });
}
