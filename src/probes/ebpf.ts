import { join } from 'node:path';
import { type BpfObject, BpfRing, clockOffset, jiffiesPerSecond } from 'bpf-napi';
import { type Counter, readCounter } from '../counter.ts';
import type { ObjectSpec } from '../sources/bpf/source.ts';
import type { Memories, Memory } from '../sources/memory.ts';
import { readText } from '../sources/procfs/read.ts';
import type { Sources } from '../sources/sources.ts';
import { Counts, sumPerCpu } from './counts.ts';
import { type HookStatus, type HookTable, hookKind, type OpenHooks, openHooks } from './hooks.ts';
import { ledgerOf, NO_EVENTS } from './ledger.ts';
import { asNetnsId, type MetricSet, type NetnsId } from './metric.ts';
import type { KernelLedger, ProbeHealth, ProbeScope, ProbeSettings, ProgramStatus, RunningProbe } from './probe.ts';

/** What src/bpf/common/events.bpf.h puts into every object that has events. */
const RING = 'events';
const LEDGER = 'event_ledgers';
const BUCKETS = 'event_buckets';

/** struct event_ledger: produced, limited, lost. */
const LEDGER_FIELDS = 3;
const U64_BYTES = 8;

/** Events wait in the kernel for so long: a ring of 1 MiB holds 5,000 of 200 bytes, so 100,000 a second are no trouble. */
const DRAIN_EVERY_MS = 25;
const DRAIN_BYTES = 256 * 1024;

const NANOSECONDS = 1e-9;

export interface EbpfOptions<Constant extends string> {
  /** Name of the probe. */
  readonly probe: string;
  readonly hooks: HookTable;
  readonly constants?: ObjectSpec<Constant>['constants'];
  /** Entries of a map, or bytes of the ring, where they differ from the file's. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** The probe can have events; otherwise the object has no ring. */
  readonly events?: {
    /** Bytes of the longest record. */
    readonly recordBytesMax: number;
    /** @param wallNs turns the kernel's time of the record into nanoseconds since the epoch */
    onRecord(view: DataView, at: number, wallNs: (kernelTime: Counter) => bigint): void;
  };
}

/** What earlier runs of a probe have counted. */
interface Earlier {
  readonly ledger: Memory<KernelLedger>;
  /** By program. */
  readonly missed: Memory<Readonly<Record<string, bigint>>>;
}

function earlierOf(memories: Memories, probe: string): Earlier {
  return { ledger: ledgerOf(memories, probe), missed: memories.of(`missed/${probe}`) };
}

/** A loaded and attached object, and what every eBPF probe has to say of it. */
export class EbpfInstance {
  readonly object: BpfObject;
  /** What is counted by common/counts.bpf.h. */
  readonly counts: Counts;
  readonly #programs: readonly string[];
  readonly #hooks: readonly HookStatus[];
  readonly #hasLedger: boolean;
  readonly #earlier: Earlier;

  constructor({ object, programs, statuses }: OpenHooks, hasLedger: boolean, earlier: Earlier, counts: Counts) {
    this.object = object;
    this.counts = counts;
    this.#programs = programs;
    this.#hooks = statuses;
    this.#hasLedger = hasLedger;
    this.#earlier = earlier;
  }

  /** What a running eBPF probe has to say of itself, but for its own metrics. */
  running(proc: string): Omit<RunningProbe<MetricSet>, 'collect'> {
    return {
      health: () => this.#health(),
      programs: () => this.programs(),
      mapBytes: () => this.mapBytes(proc),
      ledger: () => this.ledger(),
      uncounted: () => this.counts.uncounted(),
    };
  }

  #health(): ProbeHealth {
    const hooks = this.#hooks.flatMap((status) => status.hooks);
    return {
      // Of many only the kinds; the programs are listed one by one.
      reader: hooks.length === 1 ? hooks.join() : [...new Set(hooks.map(hookKind))].join(', '),
      degraded: this.#hooks.filter(({ reason }) => reason !== '').map(({ what, reason }) => `${what}: ${reason}`),
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
        missed: missed + (this.#earlier.missed.value?.[name] ?? 0n),
      };
    });
  }

  /** Memory of each map in the kernel (man 5 proc, fdinfo). */
  mapBytes(proc: string): Record<string, number> {
    const bytes: Record<string, number> = {};
    for (const map of this.object.maps.values()) {
      const info = map.fd < 0 ? undefined : readText(join(proc, 'self/fdinfo', String(map.fd)));
      const memlock = /^memlock:\s+(\d+)$/m.exec(info ?? '')?.[1];
      if (memlock !== undefined) bytes[map.name] = Number(memlock);
    }
    return bytes;
  }

  ledger(): KernelLedger {
    const { produced, limited, lost } = this.#earlier.ledger.value ?? NO_EVENTS;
    const [producedNow = 0, limitedNow = 0, lostNow = 0] = this.#hasLedger
      ? sumPerCpu(this.object, LEDGER, LEDGER_FIELDS)
      : [];
    return {
      produced: produced + BigInt(producedNow),
      limited: limited + BigInt(limitedNow),
      lost: lost + BigInt(lostNow),
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
 * Loads and attaches the hooks of a probe, drains its ring into `onRecord`, and keeps what it has counted when the scope
 * closes.
 * @throws {Unsupported}
 */
export async function openEbpf<Constant extends string>(
  scope: ProbeScope<Record<string, never>>,
  sources: Sources,
  settings: ProbeSettings<unknown>,
  options: EbpfOptions<Constant>,
): Promise<EbpfInstance> {
  const { bpf, memories, netns } = sources;
  const hasEvents = settings.events && options.events !== undefined;
  bpf.check();
  const open = await openHooks(bpf, options.hooks, specOf(options, settings, hasEvents));
  const object = scope.own(open.object);
  const counts = new Counts(object, memories.of(`counts/${options.probe}`));
  const instance = new EbpfInstance(open, hasEvents, earlierOf(memories, options.probe), counts);
  const ring =
    hasEvents && options.events !== undefined ? scope.own(openRing(object, options.events, scope)) : undefined;
  scope.own(
    netns.onSweep((isDead) => {
      counts.sweep(isDead);
      if (hasEvents) sweepBuckets(object, isDead);
    }),
  );
  scope.own({
    [Symbol.dispose]: () => {
      object.detach();
      while (ring !== undefined && ring.drain() > 0);
      instance.remember();
      counts.remember();
    },
  });
  return instance;
}

/** Without events the code that makes them is dead, and its maps are not created. */
function specOf<Constant extends string>(
  { hooks, constants, sizes = {}, events }: EbpfOptions<Constant>,
  settings: ProbeSettings<unknown>,
  hasEvents: boolean,
): Omit<ObjectSpec, 'programs'> {
  const spec = { file: hooks.file, sizes, constants: { ...constants } };
  if (events === undefined) return spec;
  if (!hasEvents) return { ...spec, without: [RING, BUCKETS, LEDGER] };
  return {
    ...spec,
    constants: {
      ...constants,
      events_enabled: true,
      event_rate: settings.limit,
      jiffies_per_second: jiffiesPerSecond(),
    },
  };
}

function openRing(
  object: BpfObject,
  { recordBytesMax, onRecord }: NonNullable<EbpfOptions<string>['events']>,
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

function sweepBuckets(object: BpfObject, isDead: (id: NetnsId) => boolean): void {
  const map = object.map(BUCKETS);
  const { count, view, keyAt } = map.dump();
  for (let index = 0; index < count; index++) {
    const at = keyAt(index);
    if (isDead(asNetnsId(readCounter(view, at)))) map.delete(new Uint8Array(view.buffer.slice(at, at + U64_BYTES)));
  }
}
