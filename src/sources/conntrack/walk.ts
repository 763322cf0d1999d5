import { netnsFlag } from '#bpf/generated/common.ts';
import { conntrackRow, FILE, type Layout, MAX_ENTRIES } from '#bpf/generated/conntrack.ts';
import { bytesOf } from '#bpf/layout.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { Unsupported } from '#core/reader.ts';
import { ListWalk, rowsOf } from '../bpf/list_walk.ts';
import type { BpfSource, LoadedObject } from '../bpf/source.ts';
import type { SourceErrors } from '../errors.ts';
import { CONNTRACK_COUNTERS, type ConntrackCounter, type ConntrackCounters } from '../netlink/conntrack.ts';
import type { Cpus } from '../procfs/cpus.ts';
import type { KernelWalk } from '../walk_source.ts';
import type { ConntrackRow } from './snapshot.ts';
import type { WideCounters } from './wide.ts';

const ROWS_MAX = MAX_ENTRIES.conntrack_rows;
/**
 * Number of per-CPU values to add up in the first slice. Each takes about 0.1 µs, so the slice takes less than 0.3 ms.
 */
const SUMS_FIRST = 2_000;

const { SIZE } = conntrackRow;

const READERS = CONNTRACK_COUNTERS.map((name) => conntrackRow[name]);
/** Shared by all namespaces without any counts, which is the majority. */
const NOTHING: ConntrackCounters = Object.freeze(Object.fromEntries(CONNTRACK_COUNTERS.map((name) => [name, 0])));

/**
 * Reads the connection tracking statistics of all namespaces with a BPF program that adds up the values of the CPUs.
 * This takes 0.4 µs per namespace on two CPUs.
 */
export class ConntrackWalk implements KernelWalk<readonly ConntrackRow[]> {
  readonly #object: LoadedObject<Layout>;
  readonly #errors: SourceErrors;
  readonly #walk: ListWalk;
  readonly #cpus: bigint;
  readonly #wide: WideCounters;
  readonly #isNobodys: (id: NetnsId) => boolean;

  private constructor(
    object: LoadedObject<Layout>,
    cpus: readonly number[],
    wide: WideCounters,
    errors: SourceErrors,
    isNobodys: (id: NetnsId) => boolean,
  ) {
    this.#object = object;
    this.#wide = wide;
    this.#errors = errors;
    this.#isNobodys = isNobodys;
    this.#walk = new ListWalk(ROWS_MAX, SUMS_FIRST / cpus.length);
    this.#cpus = BigInt(cpus.length);
  }

  /**
   * @param isNobodys returns whether a namespace is unowned; unowned namespaces get no row
   * @throws {Unsupported} if the kernel cannot run the program: before 5.19, or without BTF, the capability or
   *   nf_conntrack
   */
  static async open(
    bpf: BpfSource,
    { possible }: Cpus,
    wide: WideCounters,
    errors: SourceErrors,
    isNobodys: (id: NetnsId) => boolean = () => false,
  ): Promise<ConntrackWalk> {
    const cpus = possible();
    const object = await bpf.load<Layout>({
      file: FILE,
      programs: ['conntrack_read'],
      helpers: ['loop', 'map_lookup_percpu_elem'],
      sizes: { percpu_cpus: cpus.length },
    });
    try {
      for (const [index, cpu] of cpus.entries()) object.map('percpu_cpus').update(bytesOf(index), bytesOf(cpu));
      const walk = new ConntrackWalk(object, cpus, wide, errors, isNobodys);
      walk.#run(0, 1);
      return walk;
    } catch (error) {
      object.close();
      throw error;
    }
  }

  /** @throws {Unsupported} if nf_conntrack has been unloaded */
  async read(cycle: Cycle): Promise<ConntrackRow[]> {
    const rows: ConntrackRow[] = [];
    // Each read has its own buffer because another read may run while this one pauses.
    const buffer = new Uint8Array(ROWS_MAX * SIZE);
    const view = new DataView(buffer.buffer);
    await this.#walk.run(
      (skip, count, goesOn) => {
        const result = this.#run(skip, count, goesOn);
        this.#object.map('conntrack_rows').readMapped(buffer, rowsOf(result) * SIZE);
        return result;
      },
      {
        key: (index) => conntrackRow.cookie(view, index * SIZE),
        row: (index) => {
          const at = index * SIZE;
          if ((conntrackRow.flags(view, at) & netnsFlag.dying) !== 0) return;
          const id = asNetnsId(conntrackRow.cookie(view, at));
          if (this.#isNobodys(id)) return;
          if (conntrackRow.complete(view, at) === 0) this.#errors.count('bpf', 'conntrack', 'a row is not complete');
          else rows.push(this.#decode(id, view, at));
        },
      },
      cycle,
    );
    return rows;
  }

  #run(skip: number, count: number, goesOn = 0n): number {
    const args = BigUint64Array.of(BigInt(skip), BigInt(count), this.#cpus, goesOn);
    const result = this.#object.run('conntrack_read', args);
    if (result === 0) throw new Unsupported('nf_conntrack is not loaded, or it has no BTF');
    return result;
  }

  #decode(id: NetnsId, view: DataView, at: number): ConntrackRow {
    const entries = Number(conntrackRow.entries(view, at));
    if (!this.#wide.knows(id) && READERS.every((read) => read(view, at) === 0))
      return { id, entries, counters: NOTHING };
    const sums: Partial<Record<ConntrackCounter, number>> = {};
    for (const name of CONNTRACK_COUNTERS) sums[name] = Number(conntrackRow[name](view, at));
    return { id, entries, counters: this.#wide.widen(id, sums) };
  }

  [Symbol.dispose](): void {
    this.#object[Symbol.dispose]();
  }
}
