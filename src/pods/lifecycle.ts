import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type BpfObject, BpfRing, clockOffset } from 'bpf-napi';
import { mibRow } from '#bpf/generated/common.ts';
import { FILE, type Layout, lifeBirth, lifeDeath, lifeKind } from '#bpf/generated/lifecycle.ts';
import { bytesOf } from '#bpf/layout.ts';
import type { Counter } from '#core/counter.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import type { ReaderHealth } from '#core/reader.ts';
import type { RunningProbe } from '#probe/contract.ts';
import { EbpfInstance } from '#probe/ebpf.ts';
import { type HookTable, hook, openHooks } from '#probe/hooks.ts';
import type { NetnsLife, NetnsWatcher } from '#probe/life.ts';
import { OwnersMap } from '#probe/listed.ts';
import type { MetricSet } from '#probe/metric.ts';
import { LISTED_MAX, type Owners } from '#probe/owners.ts';
import type { Uncounted } from '#probe/status.ts';
import { readMisses } from '#probe/tally.ts';
import type { BpfSource, ObjectSpec } from '#sources/bpf/source.ts';
import { ownerFolders } from '#sources/bpf/task_list.ts';
import type { Cpus } from '#sources/procfs/cpus.ts';
import { pidNamespaceLevels } from '#sources/procfs/pid_namespace.ts';
import type { NetnsEvents, NetnsRegistry } from './registry.ts';

const BIRTHS = 'Pods as soon as they start';
const DEATHS = 'last counters of Pods that end';
const EXECUTES = 'process_executes';
const STARTS = 'work_starts' satisfies Layout['program'];

/** Hooks that report the creation and destruction of namespaces. */
export const LIFECYCLE_HOOKS: HookTable<Layout['program']> = {
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
/** Number of drains after which even a full ring is empty. */
const DRAINS_MAX = 10;
/**
 * Maximum number of per-CPU rows that the BPF program copies in one run. Each copy takes up to a microsecond, so a run
 * takes up to two milliseconds. In any case, a run may copy the rows of {@link COPIES_MIN} namespaces.
 */
const COPIES = 2_000;
const COPIES_MIN = 16;

const NANOSECONDS = 1e-9;

const WITHOUT = 'Pods are found by the next scan, and their last counters are those of the last scrape';

export interface LifecycleOptions {
  readonly bpf: BpfSource;
  readonly cpus: Cpus;
  readonly paths: Paths;
  readonly registry: NetnsRegistry;
  readonly owners: Owners;
  /** Called after births or deaths of namespaces were reported. */
  readonly told: () => void;
  readonly warn: (message: string) => void;
}

interface Running extends Disposable {
  readonly instance: EbpfInstance;
  readonly ring: BpfRing;
  readonly programs: ReadonlySet<string>;
}

/**
 * Reports births and deaths of namespaces, which BPF programs observe, to the registry. Runs independently of the
 * probes. Without BPF, births and deaths are detected only by scans.
 */
export class Lifecycle implements NetnsLife, NetnsEvents, Disposable {
  readonly #options: LifecycleOptions;
  /** Whether the agent is outside the PID namespace of its /proc, in which case births are not reported. */
  readonly #isOutside: boolean;
  #running: Running | undefined;
  /** Reason why the BPF programs do not run. */
  #reason = 'not started';

  constructor(options: LifecycleOptions) {
    this.#options = options;
    this.#isOutside = pidNamespaceLevels(options.paths.proc) !== 0;
  }

  /**
   * Starts the BPF programs. Must be called once, after the registry has found the node's namespace. If starting fails,
   * it is not retried.
   */
  async start(): Promise<void> {
    try {
      this.#running = await this.#open();
    } catch (error) {
      this.#reason = (error as Error).message;
      this.#options.warn(`starts and ends of Pods are not reported (${this.#reason}), so ${WITHOUT}`);
    }
  }

  get health(): ReaderHealth {
    if (this.#running === undefined) return { reader: 'scan', degraded: [`${this.#reason}, so ${WITHOUT}`] };
    const health = this.#running.instance.running().health();
    if (!this.#isOutside) return health;
    const outside = `${BIRTHS}: the agent is not in the PID namespace of its /proc (hostPID is missing)`;
    return { ...health, degraded: [...health.degraded, outside] };
  }

  /** Whether the first process of a Pod is reported as soon as it starts. */
  get tellsBirths(): boolean {
    return !this.#isOutside && this.#has(EXECUTES);
  }

  get tellsDeaths(): boolean {
    return this.#has(STARTS);
  }

  get untoldDeaths(): Counter | undefined {
    return this.#running && readMisses(this.#running.instance.object, {}).map_full;
  }

  /** Status for the list of probes. */
  get report(): RunningProbe<MetricSet> {
    return { ...this.#running?.instance.running(), health: () => this.health };
  }

  watch(watcher: NetnsWatcher): Disposable {
    return this.#options.registry.watch(watcher);
  }

  /** Handles all records that are currently in the ring. */
  drain(): void {
    try {
      for (let drains = 0; drains < DRAINS_MAX && (this.#running?.ring.drain() ?? 0) > 0; drains++);
    } catch (error) {
      this.#warnOfRing(error);
    }
  }

  [Symbol.dispose](): void {
    this.#running?.[Symbol.dispose]();
    this.#running = undefined;
  }

  async #open(): Promise<Running> {
    const { bpf, cpus, paths, registry, owners } = this.#options;
    using resources = new DisposableStack();
    bpf.check();
    const possible = cpus.possible();
    const open = await openHooks(bpf, LIFECYCLE_HOOKS, this.#spec(possible));
    const object = resources.use(open.object);
    const map = object.map(CPUS);
    for (const [index, cpu] of possible.entries()) map.update(bytesOf(index), bytesOf(cpu));
    const tally = untoldBirths(object);
    resources.use(new OwnersMap(object, owners, tally));
    const instance = new EbpfInstance(open, { proc: paths.proc, tally });
    const ring = resources.use(this.#openRing(object));
    resources.use(registry.listen(this));
    const all = resources.move();
    return { instance, ring, programs: new Set(open.programs), [Symbol.dispose]: () => all.dispose() };
  }

  #spec(possible: readonly number[]): Omit<ObjectSpec<Layout>, 'programs'> {
    const { paths, registry } = this.#options;
    return {
      file: FILE,
      constants: {
        pid_namespace: this.#isOutside ? 0 : ownPidNamespace(paths.proc),
        node_netns: registry.node?.id ?? 0,
        possible_cpus: possible.length,
        deaths_max: Math.max(COPIES_MIN, Math.floor(COPIES / possible.length)),
      },
      helpers: ['loop', 'map_lookup_percpu_elem'],
      sizes: { mib_rows: 1, [CPUS]: possible.length },
      onDemand: { owners: LISTED_MAX },
    };
  }

  #has(program: Layout['program']): boolean {
    return this.#running?.programs.has(program) ?? false;
  }

  #openRing(object: BpfObject): BpfRing {
    return new BpfRing(object, RING, {
      recordBytesMax: lifeDeath.SIZE,
      wakeBy: 'adaptive',
      intervalMs: DRAIN_EVERY_MS,
      bufferBytes: DRAIN_BYTES,
      onBatch: ({ view, forEach }) => {
        forEach((at) => (lifeBirth.kind(view, at) === lifeKind.birth ? this.#birth(view, at) : this.#death(view, at)));
        this.#options.told();
      },
      onError: (error) => this.#warnOfRing(error),
    });
  }

  #birth(view: DataView, at: number): void {
    this.#options.registry.born({
      id: asNetnsId(lifeBirth.netns(view, at)),
      inum: lifeBirth.inum(view, at),
      pid: lifeBirth.pid(view, at),
      startSeconds: Number(lifeBirth.start(view, at)) * NANOSECONDS,
      folders: ownerFolders(view, at + lifeBirth.offsets.owner),
    });
  }

  #death(view: DataView, at: number): void {
    const place = at + lifeDeath.offsets.row;
    this.#options.registry.died({
      id: asNetnsId(mibRow.cookie(view, place)),
      row: new Uint8Array(view.buffer.slice(place, place + mibRow.SIZE)),
      timeNs: BigInt(lifeDeath.time(view, at)) + clockOffset(),
      bootSeconds: Number(lifeDeath.boot(view, at)) * NANOSECONDS,
    });
  }

  #warnOfRing(error: unknown): void {
    this.#options.warn(`cannot read starts and ends of Pods: ${(error as Error).message}`);
  }
}

/** Returns the inode number of the PID namespace for which births are reported; see bpf/common/pid.bpf.h. */
function ownPidNamespace(proc: string): number {
  return Number(/\d+/.exec(readlinkSync(join(proc, 'self/ns/pid')))?.[0]);
}

/** Counts births that were not reported because the map was full. The watcher counts such deaths. */
function untoldBirths(object: BpfObject) {
  return {
    map: 'owned' satisfies Layout['map'],
    uncounted: (): Uncounted => ({ untracked: readMisses(object, {}).untracked }),
    // No sweep is needed, because the kernel evicts the least recently reported entry.
    sweep: () => new Map(),
    freed: () => undefined,
    remember: () => undefined,
  };
}
