import { join } from 'node:path';
import { type BpfObject, BpfRing, clockOffset, jiffiesPerSecond } from 'bpf-napi';
import { type CommonLayout, eventLedger, MAX_ENTRIES } from '#bpf/generated/common.ts';
import type { ObjectLayout } from '#bpf/layout.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ReaderHealth } from '#core/reader.ts';
import type { ObjectSpec, VariableValue } from '#sources/bpf/source.ts';
import { readText } from '#sources/procfs/read.ts';
import type { Sources } from '#sources/sources.ts';
import type { ProbeScope, ProbeSettings, RunningProbe } from './contract.ts';
import { COUNTED, COUNTS, COUNTS_MAX, Counts, type RestKey } from './counts.ts';
import { type HookStatus, type HookTable, hookKind, type OpenHooks, openHooks } from './hooks.ts';
import { EVENT_LEDGER } from './ledger.ts';
import { FILTERED, FILTERED_UNLISTED_MAX, MapPodFilter, OWNERS, OwnersMap } from './listed.ts';
import type { MetricSet } from './metric.ts';
import { LISTED_MAX, type Shares, SLOTS } from './owners.ts';
import { defineRetained, type Retained } from './retained.ts';
import { Room } from './room.ts';
import type { KernelLedger, ProgramStatus } from './status.ts';
import { sumPerCpu, type Tally } from './tally.ts';

type CommonMap = CommonLayout['map'];
type CommonVariables = Partial<Record<CommonLayout['constant'] | CommonLayout['setting'], boolean | number>>;

/** Maps that src/bpf/common/events.bpf.h adds to every object that has events. */
const RING: CommonMap = 'events';
const LEDGER: CommonMap = 'event_ledgers';
const BUCKETS: CommonMap = 'event_buckets';

/** Each owner may fill at most 1/RING_SHARES of the ring while the reader is behind. */
const RING_SHARES = 4;

/**
 * Milliseconds between reads of a ring. A ring of 1 MiB holds 5,000 events of 200 bytes, so 100,000 events per second
 * fill half of it.
 */
const DRAIN_EVERY_MS = 25;
const DRAIN_BYTES = 256 * 1024;

const NANOSECONDS = 1e-9;

export interface EbpfOptions<L extends ObjectLayout> {
  readonly hooks: HookTable<L['program']>;
  readonly constants?: ObjectSpec<L>['constants'];
  /** Sizes that override those in the object file: number of entries of a map, or bytes of the ring. */
  readonly sizes?: ObjectSpec<L>['sizes'];
  readonly onDemand?: ObjectSpec<L>['onDemand'];
  /** Maps of another object that the programs use instead of their own. */
  readonly shared?: ObjectSpec<L>['shared'];
  /** Map with counts by namespace, whose rows are divided among the owners. An object has at most one such map. */
  readonly room?: RoomOptions<L['map']>;
  /** BPF helpers that all programs of the object need, without the `bpf_` prefix. */
  readonly helpers?: readonly string[];
  /** Set if the probe can report events; otherwise the object has no ring. */
  readonly events?: {
    /** Maximum size of a record in bytes. */
    readonly recordBytesMax: number;
    /**
     * Set if the records are no events, but reports that the probe needs even if its events are disabled: their maximum
     * number per second for one owner. The ledger of the probe does not contain them.
     */
    readonly reportRate?: number;
    /**
     * Handles a record.
     * @param wallNs converts a kernel time in the record to nanoseconds since the epoch
     */
    onRecord(view: DataView, at: number, wallNs: (kernelTime: Counter) => bigint): void;
  };
}

export interface CountsOptions<L extends ObjectLayout> extends Omit<EbpfOptions<L>, 'room'> {
  readonly restKey: RestKey;
}

interface RoomOptions<Name extends string = string> {
  readonly map: Name;
  /** If the map allocates rows on demand, the number of rows to divide among the owners. */
  readonly rows: number;
  /** If the map is preallocated, its total number of rows. */
  readonly preallocated: number;
  /** Number of additional rows per slot. They hold the counts for which the slot has no free row. */
  readonly rests: number;
}

/** Number of program runs that the kernel skipped, by program. */
const MISSED = defineRetained<Readonly<Record<string, bigint>>>(() => ({}));

/** Counts from earlier runs of a probe. */
interface Earlier {
  readonly ledger: Retained<KernelLedger>;
  readonly missed: Retained<Readonly<Record<string, bigint>>>;
}

interface InstanceOptions<T extends Tally> {
  readonly proc: string;
  readonly tally: T;
  /** Whether the object counts events. */
  readonly hasLedger?: boolean;
  /** Counts from earlier runs; undefined if the object is opened only once. */
  readonly earlier?: Earlier;
  readonly podFilter?: MapPodFilter | undefined;
  readonly room?: Room | undefined;
  readonly spec?: Pick<ObjectSpec, 'constants' | 'without' | 'shared'>;
}

/** BPF_F_NO_PREALLOC in include/uapi/linux/bpf.h. */
const NO_PREALLOC = 1;

/** Status of a running eBPF probe, and what applies the settings that all of them have. */
export type RunningEbpf = Omit<RunningProbe<MetricSet>, 'collect'> & Required<Pick<RunningProbe<MetricSet>, 'apply'>>;

function nothingEarlier(): Earlier {
  return { ledger: { value: EVENT_LEDGER.initial() }, missed: { value: MISSED.initial() } };
}

/** An object whose programs are loaded and attached. Provides the status that every eBPF probe reports. */
export class EbpfInstance<T extends Tally = Tally> {
  readonly object: BpfObject;
  readonly tally: T;
  /** Values of the object's constants, and its maps that were not created. */
  readonly constants: NonNullable<ObjectSpec['constants']>;
  readonly without: readonly string[];
  /** Names of maps that belong to another object, which reports their memory. */
  readonly #shared: ReadonlySet<string>;
  readonly #proc: string;
  readonly #programs: readonly string[];
  readonly #hooks: readonly HookStatus[];
  readonly #hasLedger: boolean;
  readonly #earlier: Earlier;
  /** Reads the records that are in the ring. */
  drain: () => void = () => undefined;
  readonly #podFilter: MapPodFilter | undefined;
  readonly #room: Room | undefined;
  /** Memory in bytes of preallocated maps, by file descriptor. */
  readonly #fixedBytes = new Map<number, number>();

  constructor(
    { object, programs, statuses }: OpenHooks,
    { proc, tally, hasLedger = false, earlier = nothingEarlier(), podFilter, room, spec = {} }: InstanceOptions<T>,
  ) {
    this.constants = spec.constants ?? {};
    this.without = spec.without ?? [];
    this.#shared = new Set(Object.keys(spec.shared ?? {}));
    this.#proc = proc;
    this.object = object;
    this.tally = tally;
    this.#programs = programs;
    this.#hooks = statuses;
    this.#hasLedger = hasLedger;
    this.#earlier = earlier;
    this.#podFilter = podFilter;
    this.#room = room;
  }

  /** Removes the rows of dead namespaces to make room for new ones. */
  sweep(isDead: (id: NetnsId) => boolean): void {
    const sweep = () => this.tally.sweep(isDead);
    if (this.#room === undefined) sweep();
    else this.#room.sweep(sweep);
  }

  /** Changes settings of the programs while they run. */
  set<L extends Pick<ObjectLayout, 'setting'>>(values: Partial<Readonly<Record<L['setting'], VariableValue>>>): void {
    for (const [name, value] of Object.entries<VariableValue | undefined>(values)) {
      if (value !== undefined) this.object.setVariable(name, value);
    }
  }

  /** Returns the status of a running eBPF probe. The caller adds `collect`. */
  running(): RunningEbpf {
    return {
      apply: ({ limit }) => {
        if (this.#hasLedger) this.set<CommonLayout>({ event_rate: limit });
        return true;
      },
      health: () => this.#health(),
      programs: () => this.programs(),
      mapBytes: () => this.mapBytes(),
      ledger: () => this.ledger(),
      uncounted: () => this.tally.uncounted(),
      notShown: () => this.tally.notShown?.(),
      isShown: this.#podFilter === undefined ? undefined : (id) => this.#podFilter?.isIncluded(id) === true,
    };
  }

  #health(): ReaderHealth {
    const hooks = this.#hooks.flatMap((status) => status.hooks);
    return {
      // If there are several hooks, only their kinds are listed, because `programs` lists each hook.
      reader: hooks.length === 1 ? hooks.join() : [...new Set(hooks.map(hookKind))].join(', '),
      degraded: [
        ...this.#hooks.filter(({ reason }) => reason !== '').map(({ what, reason }) => `${what}: ${reason}`),
        ...(this.#podFilter?.degraded ?? []),
        ...(this.#room?.degraded ?? []),
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

  /** Returns the memory of each of the object's own maps in the kernel, in bytes (man 5 proc, fdinfo). */
  mapBytes(): Record<string, number> {
    const bytes: Record<string, number> = {};
    for (const map of this.object.maps.values()) {
      if (this.#shared.has(map.name)) continue;
      const found = this.#fixedBytes.get(map.fd) ?? this.#readBytes(map.fd);
      if (found !== undefined) bytes[map.name] = found;
    }
    return bytes;
  }

  #readBytes(fd: number): number | undefined {
    const info = fd < 0 ? undefined : readText(join(this.#proc, 'self/fdinfo', String(fd)));
    const [, flags] = /^map_flags:\s+(0x[\da-f]+)$/m.exec(info ?? '') ?? [];
    const [, memlock] = /^memlock:\s+(\d+)$/m.exec(info ?? '') ?? [];
    if (memlock === undefined) return undefined;
    const bytes = Number(memlock);
    // All other maps are preallocated, so their memory does not change.
    if (flags !== undefined && (Number(flags) & NO_PREALLOC) === 0) this.#fixedBytes.set(fd, bytes);
    return bytes;
  }

  ledger(): KernelLedger {
    const earlier = this.#earlier.ledger.value;
    return this.#hasLedger ? this.addLedger(earlier) : earlier;
  }

  /** Adds the counts of the records of this run. */
  addLedger({ produced, limited, lost }: KernelLedger): KernelLedger {
    const now = sumPerCpu(this.object, LEDGER, eventLedger);
    return {
      produced: produced + BigInt(now.produced),
      limited: limited + BigInt(now.limited),
      lost: lost + BigInt(now.lost),
    };
  }

  /** Stores the counts for the next run. Must be called once, after the programs have been detached. */
  remember(): void {
    const missed = Object.fromEntries(this.programs().map((program) => [program.name, program.missed]));
    this.#earlier.ledger.value = this.ledger();
    this.#earlier.missed.value = { ...this.#earlier.missed.value, ...missed };
  }
}

/**
 * Opens a probe that counts with common/counts.bpf.h.
 * @throws {Unsupported}
 */
export function openEbpf<L extends ObjectLayout>(
  scope: ProbeScope<Record<string, never>>,
  sources: Sources,
  settings: ProbeSettings<unknown>,
  options: CountsOptions<L>,
): Promise<EbpfInstance<Counts>> {
  const room = { map: COUNTS, rows: COUNTS_MAX, preallocated: MAX_ENTRIES.counts, rests: 0 };
  const countsOf = (object: BpfObject) => new Counts(object, options.restKey, scope.owners, scope.retained(COUNTED));
  return openTally<L, Counts>(scope, sources, settings, { ...options, room }, countsOf);
}

/**
 * Loads and attaches the hooks of a probe, and passes the records of its ring to `onRecord`. Stores the counts when the
 * scope closes.
 * @param tallyOf creates the reader of the object's counts
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
  const areReports = options.events?.reportRate !== undefined;
  const hasEvents = options.events !== undefined && (settings.events || areReports);
  bpf.check();
  const shares =
    options.room && scope.owners.shares(bpf.allocatesOnDemand() ? options.room.rows : options.room.preallocated);
  const spec = specOf(options, settings, hasEvents, shares);
  const open = await openHooks(bpf, options.hooks, spec);
  const object = scope.own(open.object);
  const tally = tallyOf(object);
  scope.own(new OwnersMap(object, scope.owners, tally));
  const podFilter =
    settings.podFilter === undefined
      ? undefined
      : scope.own(new MapPodFilter(object.map(FILTERED), settings.podFilter, scope));
  const earlier = { ledger: scope.retained(EVENT_LEDGER), missed: scope.retained(MISSED) };
  const room =
    options.room === undefined || shares === undefined
      ? undefined
      : new Room(object, options.room.map, shares, scope.owners);
  const instance = new EbpfInstance(open, {
    proc: scope.paths.proc,
    hasLedger: hasEvents && !areReports,
    earlier,
    tally,
    podFilter,
    room,
    spec,
  });
  const ring =
    hasEvents && options.events !== undefined ? scope.own(openRing(object, options.events, scope)) : undefined;
  const drain = () => {
    while (ring !== undefined && ring.drain() > 0);
  };
  instance.drain = drain;
  scope.own(netns.onSweep((isDead) => instance.sweep(isDead)));
  scope.own({
    [Symbol.dispose]: () => {
      object.detach();
      drain();
      instance.remember();
      tally.remember();
    },
  });
  return instance;
}

/**
 * Returns the spec of an object. If events or the pod filter are disabled, the verifier removes the code for them, and
 * their maps are not created.
 */
function specOf<L extends ObjectLayout>(
  { hooks, constants, sizes = {}, onDemand = {}, shared = {}, helpers = [], events, room }: EbpfOptions<L>,
  settings: ProbeSettings<unknown>,
  hasEvents: boolean,
  shares: Shares | undefined,
): Omit<ObjectSpec, 'programs'> {
  const isFiltered = settings.podFilter !== undefined;
  const own: CommonVariables = {
    ...(isFiltered ? { filters_pods: true } : {}),
    ...(shares === undefined ? {} : { owner_rows: shares.ofOwner, unlisted_rows: shares.ofUnlisted }),
  };
  const spec = {
    file: hooks.file,
    helpers,
    sizes: { ...sizes, ...(room === undefined ? {} : { [room.map]: room.preallocated }) },
    shared,
    onDemand: {
      ...onDemand,
      [OWNERS]: LISTED_MAX,
      ...(room === undefined ? {} : { [room.map]: room.rows + room.rests * SLOTS }),
      ...(isFiltered ? { [FILTERED]: LISTED_MAX + FILTERED_UNLISTED_MAX } : {}),
    },
    constants: { ...constants, ...own },
    without: isFiltered ? [] : [FILTERED],
  };
  if (events === undefined) return spec;
  if (!hasEvents) return { ...spec, without: [...spec.without, RING, BUCKETS, LEDGER] };
  const forEvents: CommonVariables = {
    events_enabled: true,
    event_rate: events.reportRate ?? settings.limit,
    jiffies_per_second: jiffiesPerSecond(),
    ring_share: Math.floor((sizes[RING as L['map']] ?? MAX_ENTRIES.events) / RING_SHARES),
  };
  return { ...spec, constants: { ...spec.constants, ...forEvents } };
}

function openRing(
  object: BpfObject,
  { recordBytesMax, onRecord }: NonNullable<EbpfOptions<ObjectLayout>['events']>,
  scope: ProbeScope<Record<string, never>>,
): BpfRing {
  return new BpfRing(object, RING, {
    recordBytesMax,
    wakeBy: 'adaptive',
    intervalMs: DRAIN_EVERY_MS,
    bufferBytes: DRAIN_BYTES,
    onBatch: ({ view, forEach }) => {
      // The offset is read once per batch, so the events of a batch remain in order even if the clock changes. The next
      // batch uses the new offset.
      const offset = clockOffset();
      forEach((at) => onRecord(view, at, (kernelTime) => BigInt(kernelTime) + offset));
    },
    onError: (error) => scope.warn(`events could not be read: ${(error as Error).message}`),
  });
}
