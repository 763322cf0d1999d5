import { MAX_ENTRIES, mibRow, mibValues } from '#bpf/generated/common.ts';
import { FILE, type Layout } from '#bpf/generated/mib.ts';
import { type Counter, readCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { type PerCpuProgram, type PerCpuRows, PerCpuWalk } from '../bpf/percpu_walk.ts';
import type { BpfSource } from '../bpf/source.ts';
import type { Cpus } from '../procfs/cpus.ts';
import type { KernelWalk } from '../walk_source.ts';
import { LastCounters } from './last.ts';
import type { Column, MibSnapshot } from './snapshot.ts';
import { MibIndex, type MibTable } from './tables.ts';

const { SIZE } = mibRow;

const PROGRAM: PerCpuProgram<Layout> = {
  file: FILE,
  programs: ['mib_read'],
  rows: 'mib_rows',
  rowsMax: MAX_ENTRIES.mib_rows,
  row: mibRow,
  sums: { at: mibRow.offsets.values, bytes: mibValues.SIZE },
  sumsFirst: 200,
};

const NONE = new LastCounters();

/** Reads the counters of all namespaces with a BPF program that adds up the values of the CPUs. */
export class MibWalk implements KernelWalk<MibSnapshot> {
  readonly #walk: PerCpuWalk;
  readonly #index: MibIndex;

  private constructor(walk: PerCpuWalk, index: MibIndex) {
    this.#walk = walk;
    this.#index = index;
  }

  /**
   * @param isNobodys returns whether a namespace is unowned; unowned namespaces get no row
   * @param rowsMax maximum number of rows in a slice
   * @throws {Unsupported} if the kernel cannot run the program: before 5.19, without BTF, or without the capability
   */
  static async open(
    bpf: BpfSource,
    cpus: Cpus,
    isNobodys: (id: NetnsId) => boolean = () => false,
    rowsMax?: number,
    index = new MibIndex(bpf.btf()),
  ): Promise<MibWalk> {
    return new MibWalk(await PerCpuWalk.open(bpf, PROGRAM, cpus, isNobodys, rowsMax), index);
  }

  /**
   * Takes a snapshot, which is valid until the next read.
   * @param last rows of dead namespaces to include
   */
  async read(cycle: Cycle, last: LastCounters = NONE): Promise<MibSnapshot> {
    const rows = await this.#walk.read(cycle);
    for (const [id, row] of last.rows()) {
      // The final row already includes the counts of offline CPUs.
      rows.offline.delete(id);
      rows.add(row, id);
    }
    return new WalkSnapshot(rows, this.#index);
  }

  [Symbol.dispose](): void {
    this.#walk[Symbol.dispose]();
  }
}

/**
 * A column number encodes the value's offset in a row, the bit of its table, and whether the value is a sum over CPUs.
 */
const BIT_SHIFT = 16;
const AT_MASK = 2 ** BIT_SHIFT - 1;
const PER_CPU = 2 ** 24;

class WalkSnapshot implements MibSnapshot {
  readonly ids: readonly NetnsId[];
  readonly #rows: PerCpuRows;
  readonly #index: MibIndex;

  constructor(rows: PerCpuRows, index: MibIndex) {
    this.ids = rows.ids;
    this.#rows = rows;
    this.#index = index;
  }

  has(table: MibTable): boolean {
    const mask = this.#index.mask(table);
    return this.ids.some((_, row) => (mibRow.tables(this.#rows.view, row * SIZE) & mask) !== 0);
  }

  column(table: MibTable, field: string): Column | undefined {
    const column = this.#index.column(table, field);
    if (column === undefined) return undefined;
    return (column.at | (column.bit << BIT_SHIFT) | (column.perCpu ? PER_CPU : 0)) as Column;
  }

  value(row: number, column: Column): Counter | undefined {
    const { view } = this.#rows;
    const bit = (column >>> BIT_SHIFT) & 0xff;
    if ((mibRow.tables(view, row * SIZE) & (1 << bit)) === 0) return undefined;
    const at = column & AT_MASK;
    return column < PER_CPU ? readCounter(view, row * SIZE + at) : this.#rows.sum(row, at);
  }
}
