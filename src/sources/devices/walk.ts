import { netnsFlag } from '#bpf/generated/common.ts';
import { FILE, type Layout, MAX_ENTRIES, netdevEffort, netdevRow } from '#bpf/generated/netdev.ts';
import { bytesOf } from '#bpf/layout.ts';
import { type Counter, readCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { Unsupported } from '#core/reader.ts';
import { ListWalk, rowsOf } from '../bpf/list_walk.ts';
import type { BpfSource, LoadedObject } from '../bpf/source.ts';
import type { Cpus } from '../procfs/cpus.ts';
import type { KernelWalk } from '../walk_source.ts';
import { coreConstants, KindLayouts } from './kinds.ts';
import { DeviceRows } from './rows.ts';

const { SIZE } = netdevRow;
const ROWS_MAX = MAX_ENTRIES.netdev_rows;
/**
 * Number of per-CPU values to add up in the first slice, over all of its devices. Takes a few tenths of a millisecond.
 */
const SUMS_FIRST = 400;
/**
 * Maximum duration of a call in nanoseconds. A call occupies its CPU. It may take longer to finish the current device.
 */
const CALL_NS = 250_000;
const HIGH = 2 ** 20;

/** Cost of all calls of the program. */
export interface WalkEffort {
  readonly calls: number;
  readonly ns: number;
  readonly longestNs: number;
}

/**
 * Reads the devices of all namespaces with a BPF program. A device that moves to another namespace during the walk may
 * appear in both namespaces or in neither.
 */
export class DevicesWalk implements KernelWalk<DeviceRows> {
  readonly #layouts: KindLayouts;
  readonly #object: LoadedObject<Layout>;
  readonly #cpus: Cpus;
  readonly #isNobodys: (id: NetnsId) => boolean;
  readonly #callNs: bigint;
  readonly #walk: ListWalk;
  readonly #buffer = new Uint8Array(ROWS_MAX * SIZE);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #rows = new DeviceRows();
  /** CPUs that may have nonzero counts. */
  #counting: readonly number[] = [];
  /** Kinds that the program could not read at first. Their layout is looked up only once. */
  readonly #met = new Set<string>();

  private constructor(
    layouts: KindLayouts,
    object: LoadedObject<Layout>,
    cpus: Cpus,
    isNobodys: (id: NetnsId) => boolean,
    callNs: number,
  ) {
    this.#layouts = layouts;
    this.#object = object;
    this.#cpus = cpus;
    this.#isNobodys = isNobodys;
    this.#callNs = BigInt(callNs);
    this.#walk = new ListWalk(ROWS_MAX, SUMS_FIRST / cpus.online().length);
  }

  /**
   * @param isNobodys returns whether a namespace is unowned; unowned namespaces get no rows
   * @param callNs maximum duration of a call in nanoseconds
   * @throws {Unsupported} if the kernel cannot run the program: before 6.0, without BTF, or without the capability
   */
  static async open(
    bpf: BpfSource,
    cpus: Cpus,
    isNobodys: (id: NetnsId) => boolean = () => false,
    callNs = CALL_NS,
  ): Promise<DevicesWalk> {
    const object = await bpf.load<Layout>({
      file: FILE,
      programs: ['netdev_read'],
      helpers: ['loop', 'map_lookup_percpu_elem'],
      constants: constantsOf(bpf),
      sizes: { percpu_cpus: cpus.possible().length, netdev_offsets: cpus.possible().length },
    });
    const layouts = new KindLayouts(bpf);
    for (const { key, value } of layouts.known().values()) object.map('netdev_kinds').update(key, value);
    return new DevicesWalk(layouts, object, cpus, isNobodys, callNs);
  }

  async read(cycle: Cycle): Promise<DeviceRows> {
    const online = this.#cpus.online();
    if (this.#counting.length === 0) await this.#findCounting(online, cycle);
    else if (online.some((cpu) => !this.#counting.includes(cpu))) {
      this.#count([...new Set([...this.#counting, ...online])]);
    }
    return this.#readAll(this.#counting.length, cycle);
  }

  get effort(): WalkEffort {
    const bytes = new Uint8Array(netdevEffort.SIZE);
    this.#object.map('netdev_effort_cell').readMapped(bytes, bytes.length);
    const view = new DataView(bytes.buffer);
    const read = (at: number) => Number(readCounter(view, at));
    const { calls, ns, longestNs } = netdevEffort.offsets;
    return { calls: read(calls), ns: read(ns), longestNs: read(longestNs) };
  }

  /**
   * Decides which CPUs to read. On many machines, most possible CPUs never come online, so CPUs that are offline at the
   * start are read only if any of them has counts. CPUs that go offline later are still read.
   */
  async #findCounting(online: readonly number[], cycle: Cycle): Promise<void> {
    const offline = this.#cpus.possible().filter((cpu) => !online.includes(cpu));
    this.#setCpus(offline);
    const haveCounted = offline.length > 0 && (await this.#haveCounted(offline.length, cycle));
    this.#count(haveCounted ? [...online, ...offline] : online);
  }

  /**
   * Returns whether any of the first CPUs in the map has counts. Compares with a read without any CPU, because some
   * counters are not per-CPU.
   * @param cpus number of CPUs
   */
  async #haveCounted(cpus: number, cycle: Cycle): Promise<boolean> {
    const counts = (await this.#readAll(cpus, cycle)).digest();
    return (await this.#readAll(0, cycle)).digest() !== counts;
  }

  #count(cpus: readonly number[]): void {
    this.#setCpus(cpus);
    this.#counting = cpus;
  }

  #setCpus(cpus: readonly number[]): void {
    const map = this.#object.map('percpu_cpus');
    for (const [index, cpu] of cpus.entries()) map.update(bytesOf(index), bytesOf(cpu));
  }

  /**
   * Reads all devices, and repeats this as long as layouts of new kinds become known. This happens if a driver was
   * loaded after the walk was opened, because its BTF is then available.
   */
  async #readAll(cpus: number, cycle: Cycle): Promise<DeviceRows> {
    do await this.#readOnce(cpus, cycle);
    while (this.#learn());
    return this.#rows;
  }

  async #readOnce(cpus: number, cycle: Cycle): Promise<void> {
    const map = this.#object.map('netdev_rows');
    this.#rows.clear();
    await this.#walk.run(
      (skip, count, goesOn) => {
        const args = BigUint64Array.of(BigInt(skip), BigInt(count), BigInt(cpus), this.#callNs, goesOn);
        const result = this.#object.run('netdev_read', args);
        map.readMapped(this.#buffer, rowsOf(result) * SIZE);
        return result;
      },
      {
        key: (index) => keyOf(netdevRow.cookie(this.#view, index * SIZE), netdevRow.ifindex(this.#view, index * SIZE)),
        row: (index) => {
          const at = index * SIZE;
          if ((netdevRow.flags(this.#view, at) & netnsFlag.dying) !== 0) return;
          const id = asNetnsId(netdevRow.cookie(this.#view, at));
          if (!this.#isNobodys(id)) this.#rows.add(this.#buffer.subarray(at, at + SIZE), id);
        },
      },
      cycle,
    );
  }

  /** Looks up the layouts of kinds that the program could not read. Returns whether any was found. */
  #learn(): boolean {
    let learnt = false;
    for (const kind of this.#rows.kindsNotCounted()) {
      if (this.#met.has(kind)) continue;
      this.#met.add(kind);
      try {
        const entry = this.#layouts.layOut(kind);
        if (entry === undefined) continue;
        this.#object.map('netdev_kinds').update(entry.key, entry.value);
        learnt = true;
      } catch (error) {
        this.#rows.refused.set(kind, (error as Error).message);
      }
    }
    return learnt;
  }

  [Symbol.dispose](): void {
    this.#object[Symbol.dispose]();
  }
}

function constantsOf(bpf: BpfSource): ReturnType<typeof coreConstants> {
  try {
    return coreConstants(bpf.btf());
  } catch (error) {
    if (error instanceof Unsupported) throw error;
    throw new Unsupported((error as Error).message, { cause: error });
  }
}

/**
 * Returns a unique key for a device from its namespace and interface index. Nearly always, both are small enough for
 * the key to be a number.
 */
function keyOf(cookie: Counter, ifindex: number): Counter {
  if (typeof cookie === 'number' && cookie < 2 ** 32 && ifindex < HIGH) return cookie * HIGH + ifindex;
  return (BigInt(cookie) << 32n) | BigInt(ifindex);
}
