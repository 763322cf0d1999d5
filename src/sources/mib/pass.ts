import type { BpfObject } from 'bpf-napi';
import { FILE, mibRow, mibValues } from '../../bpf/generated/mib.ts';
import type { Cycle } from '../../collectors/cycle.ts';
import { addCounters, type Counter, readCounter } from '../../counter.ts';
import { asNetnsId, type NetnsId } from '../../probes/metric.ts';
import { NETNS_DYING, NetnsWalk, rowsOf } from '../bpf/netns_walk.ts';
import type { BpfSource } from '../bpf/source.ts';
import type { Pass } from '../pass_source.ts';
import type { Cpus } from '../procfs/cpus.ts';
import type { Column, MibSnapshot } from './snapshot.ts';
import { MibIndex, type MibTable } from './tables.ts';

const ROWS_MAX = 256;
/** Summing one CPU of one namespace takes about 0.8 µs; a first slice of this many stays below 0.3 ms. */
const SUMS_FIRST = 400;

const { SIZE } = mibRow;

/** Rows as the program wrote them, one behind the other. */
class Rows {
  #bytes = new Uint8Array(64 * SIZE);
  view = new DataView(this.#bytes.buffer);
  readonly ids: NetnsId[] = [];

  clear(): void {
    this.ids.length = 0;
  }

  add(row: Uint8Array, id: NetnsId): void {
    const at = this.ids.length * SIZE;
    if (at + SIZE > this.#bytes.length) {
      const longer = new Uint8Array(this.#bytes.length * 2);
      longer.set(this.#bytes);
      this.#bytes = longer;
      this.view = new DataView(longer.buffer);
    }
    this.#bytes.set(row, at);
    this.ids.push(id);
  }

  hasValues(row: number): boolean {
    const at = row * SIZE + mibRow.offsets.values;
    return this.#bytes.subarray(at, at + mibValues.SIZE).some((byte) => byte !== 0);
  }

  copyRow(row: number): DataView {
    return new DataView(this.#bytes.slice(row * SIZE, (row + 1) * SIZE).buffer);
  }
}

/** Reads the counters of all namespaces by a BPF program that sums the CPUs. */
export class MibPass implements Pass<MibSnapshot> {
  readonly #object: BpfObject;
  readonly #index: MibIndex;
  readonly #cpus: Cpus;
  readonly #walk: NetnsWalk;
  readonly #buffer: Uint8Array;
  readonly #bufferView: DataView;
  readonly #rows = new Rows();
  /** What CPUs that are offline have counted; a CPU keeps its share for ever, but it stops growing. */
  readonly #offline = new Map<NetnsId, DataView>();
  #online = '';

  private constructor(object: BpfObject, index: MibIndex, cpus: Cpus, rowsMax: number) {
    this.#object = object;
    this.#index = index;
    this.#cpus = cpus;
    this.#walk = new NetnsWalk(rowsMax, SUMS_FIRST / cpus.online().length);
    this.#buffer = new Uint8Array(rowsMax * SIZE);
    this.#bufferView = new DataView(this.#buffer.buffer);
  }

  /**
   * @param rowsMax rows that one slice can hold
   * @throws {Unsupported} where the kernel cannot run the program: before 5.19, without BTF, without the right
   */
  static async open(bpf: BpfSource, cpus: Cpus, rowsMax = ROWS_MAX): Promise<MibPass> {
    const index = new MibIndex(bpf.btf());
    const object = await bpf.load({
      file: FILE,
      programs: ['mib_read'],
      sizes: { mib_rows: rowsMax, mib_cpus: cpus.possible().length },
    });
    return new MibPass(object, index, cpus, rowsMax);
  }

  /** The snapshot is valid until the next read. */
  async read(cycle: Cycle): Promise<MibSnapshot> {
    const online = this.#cpus.online();
    if (online.join() !== this.#online) {
      await this.#readOffline(online, cycle);
      this.#online = online.join();
    }
    await this.#sum(online.length, cycle);
    return new PassSnapshot(this.#rows, this.#offline, this.#index);
  }

  /**
   * Of many machines most possible CPUs never come online, and their shares stay zero: only what differs is kept. A
   * namespace that is made later has nothing on them.
   */
  async #readOffline(online: readonly number[], cycle: Cycle): Promise<void> {
    const offline = this.#cpus.possible().filter((cpu) => !online.includes(cpu));
    this.#offline.clear();
    if (offline.length > 0) {
      this.#setCpus(offline);
      await this.#sum(offline.length, cycle);
      for (const [row, id] of this.#rows.ids.entries()) {
        if (this.#rows.hasValues(row)) this.#offline.set(id, this.#rows.copyRow(row));
      }
    }
    this.#setCpus(online);
  }

  #setCpus(cpus: readonly number[]): void {
    const map = this.#object.map('mib_cpus');
    const key = new Uint32Array(1);
    for (const [index, cpu] of cpus.entries()) {
      key[0] = index;
      map.update(new Uint8Array(key.buffer), new Uint8Array(Uint32Array.of(cpu).buffer));
    }
  }

  async #sum(cpus: number, cycle: Cycle): Promise<void> {
    this.#rows.clear();
    const map = this.#object.map('mib_rows');
    await this.#walk.run(
      (skip, count) => {
        const args = BigUint64Array.of(BigInt(skip), BigInt(count), BigInt(cpus));
        const result = this.#object.run('mib_read', args);
        map.readMapped(this.#buffer, rowsOf(result) * SIZE);
        return result;
      },
      {
        cookie: (index) => mibRow.cookie(this.#bufferView, index * SIZE),
        row: (index) => {
          const at = index * SIZE;
          if ((mibRow.flags(this.#bufferView, at) & NETNS_DYING) !== 0) return;
          this.#rows.add(this.#buffer.subarray(at, at + SIZE), asNetnsId(mibRow.cookie(this.#bufferView, at)));
        },
      },
      cycle,
    );
  }

  get object(): BpfObject {
    return this.#object;
  }

  [Symbol.dispose](): void {
    this.#object.close();
  }
}

/** A column is the place of the value in a row, the bit of its table, and whether it is a sum over CPUs. */
const BIT_FACTOR = 2 ** 16;
const PER_CPU = 2 ** 24;

class PassSnapshot implements MibSnapshot {
  readonly ids: readonly NetnsId[];
  readonly #view: DataView;
  readonly #offline: ReadonlyMap<NetnsId, DataView>;
  readonly #index: MibIndex;

  constructor(rows: Rows, offline: ReadonlyMap<NetnsId, DataView>, index: MibIndex) {
    this.ids = rows.ids;
    this.#view = rows.view;
    this.#offline = offline;
    this.#index = index;
  }

  has(table: MibTable): boolean {
    const mask = this.#index.mask(table);
    return this.ids.some((_, row) => (mibRow.tables(this.#view, row * SIZE) & mask) !== 0);
  }

  column(table: MibTable, field: string): Column | undefined {
    const column = this.#index.column(table, field);
    if (column === undefined) return undefined;
    return (column.at + column.bit * BIT_FACTOR + (column.perCpu ? PER_CPU : 0)) as Column;
  }

  value(row: number, column: Column): Counter | undefined {
    const start = row * SIZE;
    const at = column % BIT_FACTOR;
    const bit = (column >>> 16) & 0xff;
    if ((mibRow.tables(this.#view, start) & (1 << bit)) === 0) return undefined;
    const value = readCounter(this.#view, start + at);
    if (this.#offline.size === 0 || column < PER_CPU) return value;
    const offline = this.#offline.get(this.ids[row] as NetnsId);
    return offline === undefined ? value : addCounters(value, readCounter(offline, at));
  }
}
