import type { BpfObject } from 'bpf-napi';
import { type CommonLayout, netnsFlag } from '#bpf/generated/common.ts';
import type { ObjectLayout } from '#bpf/layout.ts';
import { bytesOf } from '#bpf/layout.ts';
import { addCounters, type Counter, readCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { Cpus } from '../procfs/cpus.ts';
import { ListWalk, rowsOf } from './list_walk.ts';
import type { BpfSource } from './source.ts';

/** Map declared in src/bpf/common/percpu.bpf.h. */
const CPUS: CommonLayout['map'] = 'percpu_cpus';

/** A program that writes a row for each namespace, with sums over CPUs (src/bpf/common/percpu.bpf.h). */
export interface PerCpuProgram<L extends ObjectLayout = ObjectLayout> {
  readonly file: string;
  /** Programs to load. Only the first one is run by the walk. */
  readonly programs: readonly [L['program'], ...L['program'][]];
  /** Name of the map that contains the rows. */
  readonly rows: L['map'];
  /** Maximum number of rows in a slice, as compiled into the object file. */
  readonly rowsMax: number;
  readonly row: {
    readonly SIZE: number;
    cookie(view: DataView, at: number): Counter;
    flags(view: DataView, at: number): number;
  };
  /** Offset and size of the sums in a row. */
  readonly sums: { readonly at: number; readonly bytes: number };
  /** Number of per-CPU values to add up in the first slice, which should take a few tenths of a millisecond. */
  readonly sumsFirst: number;
}

/** Rows of one walk. Valid until the next walk. */
export class PerCpuRows {
  readonly ids: NetnsId[] = [];
  readonly #size: number;
  #bytes: Uint8Array;
  view: DataView;
  /** Counts of offline CPUs. They do not change, but are included in the sums. */
  readonly offline = new Map<NetnsId, DataView>();

  constructor(size: number) {
    this.#size = size;
    this.#bytes = new Uint8Array(64 * size);
    this.view = new DataView(this.#bytes.buffer);
  }

  clear(): void {
    this.ids.length = 0;
  }

  add(row: Uint8Array, id: NetnsId): void {
    const at = this.ids.length * this.#size;
    if (at + this.#size > this.#bytes.length) {
      const longer = new Uint8Array(this.#bytes.length * 2);
      longer.set(this.#bytes);
      this.#bytes = longer;
      this.view = new DataView(longer.buffer);
    }
    this.#bytes.set(row, at);
    this.ids.push(id);
  }

  /** Returns a copy of a row; undefined if all of its sums are zero. */
  copyCounted(row: number, sums: PerCpuProgram['sums']): DataView | undefined {
    const start = row * this.#size;
    const counted = this.#bytes.subarray(start + sums.at, start + sums.at + sums.bytes).some((byte) => byte !== 0);
    return counted ? new DataView(this.#bytes.slice(start, start + this.#size).buffer) : undefined;
  }

  /** Returns one of a row's u64 sums, including the counts of offline CPUs. */
  sum(row: number, at: number): Counter {
    const value = readCounter(this.view, row * this.#size + at);
    if (this.offline.size === 0) return value;
    const offline = this.offline.get(this.ids[row] as NetnsId);
    return offline === undefined ? value : addCounters(value, readCounter(offline, at));
  }
}

/** Reads a row for each namespace with a BPF program that adds up the values of the CPUs. */
export class PerCpuWalk implements Disposable {
  readonly object: BpfObject;
  readonly #program: PerCpuProgram;
  readonly #cpus: Cpus;
  readonly #walk: ListWalk;
  readonly #buffer: Uint8Array;
  readonly #bufferView: DataView;
  readonly #rows: PerCpuRows;
  readonly #isNobodys: (id: NetnsId) => boolean;
  #online = '';

  private constructor(
    object: BpfObject,
    program: PerCpuProgram,
    cpus: Cpus,
    rowsMax: number,
    isNobodys: (id: NetnsId) => boolean,
  ) {
    const { SIZE } = program.row;
    this.object = object;
    this.#program = program;
    this.#cpus = cpus;
    this.#walk = new ListWalk(rowsMax, program.sumsFirst / cpus.online().length);
    this.#buffer = new Uint8Array(rowsMax * SIZE);
    this.#bufferView = new DataView(this.#buffer.buffer);
    this.#rows = new PerCpuRows(SIZE);
    this.#isNobodys = isNobodys;
  }

  /**
   * @param isNobodys returns whether a namespace is unowned; unowned namespaces get no row
   * @param rowsMax maximum number of rows in a slice, if it differs from the one in the object file
   * @throws {Unsupported} if the kernel cannot run the program: before 5.19, without BTF, or without the capability
   */
  static async open(
    bpf: BpfSource,
    program: PerCpuProgram,
    cpus: Cpus,
    isNobodys: (id: NetnsId) => boolean,
    rowsMax = program.rowsMax,
  ): Promise<PerCpuWalk> {
    const object = await bpf.load({
      file: program.file,
      programs: program.programs,
      helpers: ['loop', 'map_lookup_percpu_elem'],
      sizes: { [program.rows]: rowsMax, [CPUS]: cpus.possible().length },
    });
    return new PerCpuWalk(object, program, cpus, rowsMax, isNobodys);
  }

  async read(cycle: Cycle): Promise<PerCpuRows> {
    const online = this.#cpus.online();
    if (online.join() !== this.#online) {
      // If the cycle is aborted, the map may contain the wrong CPUs. The empty value makes the next read write them
      // again.
      this.#online = '';
      await this.#readOffline(online, cycle);
      this.#online = online.join();
    }
    await this.#sum(online.length, this.#isNobodys, cycle);
    return this.#rows;
  }

  /**
   * Stores the counts of offline CPUs. On many machines, most possible CPUs never come online and have no counts, so
   * only nonzero rows are stored. Namespaces created later have no counts on these CPUs. Unowned namespaces are
   * included because they may get an owner later.
   */
  async #readOffline(online: readonly number[], cycle: Cycle): Promise<void> {
    const offline = this.#cpus.possible().filter((cpu) => !online.includes(cpu));
    this.#rows.offline.clear();
    if (offline.length > 0) {
      this.#setCpus(offline);
      await this.#sum(offline.length, () => false, cycle);
      for (const [row, id] of this.#rows.ids.entries()) {
        const copy = this.#rows.copyCounted(row, this.#program.sums);
        if (copy !== undefined) this.#rows.offline.set(id, copy);
      }
    }
    this.#setCpus(online);
  }

  #setCpus(cpus: readonly number[]): void {
    const map = this.object.map(CPUS);
    for (const [index, cpu] of cpus.entries()) map.update(bytesOf(index), bytesOf(cpu));
  }

  async #sum(cpus: number, isLeftOut: (id: NetnsId) => boolean, cycle: Cycle): Promise<void> {
    const { row, rows, programs } = this.#program;
    const map = this.object.map(rows);
    this.#rows.clear();
    await this.#walk.run(
      (skip, count, goesOn) => {
        const args = BigUint64Array.of(BigInt(skip), BigInt(count), BigInt(cpus), goesOn);
        const result = this.object.run(programs[0], args);
        map.readMapped(this.#buffer, rowsOf(result) * row.SIZE);
        return result;
      },
      {
        key: (index) => row.cookie(this.#bufferView, index * row.SIZE),
        row: (index) => {
          const at = index * row.SIZE;
          if ((row.flags(this.#bufferView, at) & netnsFlag.dying) !== 0) return;
          const id = asNetnsId(row.cookie(this.#bufferView, at));
          if (!isLeftOut(id)) this.#rows.add(this.#buffer.subarray(at, at + row.SIZE), id);
        },
      },
      cycle,
    );
  }

  [Symbol.dispose](): void {
    this.object.close();
  }
}
