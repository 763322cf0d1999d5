import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ReaderHealth } from '#core/reader.ts';
import type { BpfSource } from '../bpf/source.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsEntry, NetnsIndex } from '../netns.ts';
import type { Cpus } from '../procfs/cpus.ts';
import { type KernelWalk, WalkSource } from '../walk_source.ts';
import { MibFiles, type MibRow } from './files.ts';
import { LastCounters } from './last.ts';
import type { Column, MibSnapshot } from './snapshot.ts';
import { MibIndex, type MibTable } from './tables.ts';
import { MibWalk } from './walk.ts';

interface User {
  readonly tables: readonly MibTable[];
}

/**
 * Reads the SNMP counters of every namespace: with a walk in the kernel if possible, otherwise from files. Tables that
 * the walk does not support are always read from files.
 */
export class MibSource {
  /** Final rows of dead namespaces that are still shown. */
  readonly last = new LastCounters();
  readonly #bpf: BpfSource;
  readonly #netns: NetnsIndex;
  readonly #files: MibFiles;
  readonly #source: WalkSource<MibSnapshot>;
  readonly #users = new Set<User>();
  /** Tables that are not in the files of this kernel either. */
  readonly #absent = new Set<MibTable>();
  #index: MibIndex | undefined;

  constructor(bpf: BpfSource, cpus: Cpus, netns: NetnsIndex, files: NetFiles, warn: (message: string) => void) {
    this.#bpf = bpf;
    this.#netns = netns;
    this.#files = new MibFiles(netns, files);
    netns.onSweep((isDead) => this.last.sweep(isDead));
    this.#source = new WalkSource({
      what: 'SNMP counters',
      warn,
      open: () => this.#openWalk(cpus),
      otherwise: (cycle) => this.#files.read(new Set(this.#tables()), cycle),
      otherwiseName: 'files',
    });
  }

  /** Registers a user of these tables. The caller must dispose of the result when it no longer needs them. */
  async use(tables: readonly MibTable[]): Promise<AsyncDisposable> {
    const user: User = { tables };
    this.#users.add(user);
    const use = await this.#source.use();
    return {
      [Symbol.asyncDispose]: () => {
        this.#users.delete(user);
        return use[Symbol.asyncDispose]();
      },
    };
  }

  /** Indices of the fields in this kernel's rows. @throws {Unsupported} without BTF */
  get index(): MibIndex {
    this.#index ??= new MibIndex(this.#bpf.btf());
    return this.#index;
  }

  get health(): ReaderHealth {
    return this.#source.health;
  }

  /** Returns the counters of this cycle, which are read only once for all callers. Valid until the next cycle. */
  read(cycle: Cycle): Promise<MibSnapshot> {
    return this.#source.read(cycle);
  }

  /** Reads all counters of one namespace from its files, whether or not a probe uses them. */
  readOne(entry: NetnsEntry, cycle: Cycle): MibRow {
    return this.#files.readOne(entry, cycle);
  }

  async #openWalk(cpus: Cpus): Promise<KernelWalk<MibSnapshot>> {
    const walk = await MibWalk.open(this.#bpf, cpus, (id) => this.#netns.isNobodys(id), undefined, this.index);
    return {
      read: async (cycle) => this.#patch(await walk.read(cycle, this.last), cycle),
      [Symbol.dispose]: () => walk[Symbol.dispose](),
    };
  }

  async #patch(snapshot: MibSnapshot, cycle: Cycle): Promise<MibSnapshot> {
    const lacking = this.#tables().filter((table) => !snapshot.has(table) && !this.#absent.has(table));
    if (lacking.length === 0) return snapshot;
    const files = await this.#files.read(new Set(lacking), cycle);
    for (const table of lacking) if (!files.has(table)) this.#absent.add(table);
    return new PatchedSnapshot(snapshot, files);
  }

  #tables(): MibTable[] {
    return [...new Set([...this.#users].flatMap(({ tables }) => tables))];
  }
}

/** A snapshot that takes missing tables from another snapshot. */
class PatchedSnapshot implements MibSnapshot {
  readonly ids: readonly NetnsId[];
  readonly #whole: MibSnapshot;
  readonly #patch: MibSnapshot;
  readonly #patchRows: ReadonlyMap<NetnsId, number>;

  constructor(whole: MibSnapshot, patch: MibSnapshot) {
    this.ids = whole.ids;
    this.#whole = whole;
    this.#patch = patch;
    this.#patchRows = new Map(patch.ids.map((id, row) => [id, row]));
  }

  has(table: MibTable): boolean {
    return this.#whole.has(table) || this.#patch.has(table);
  }

  /** Returns a column. Columns of `patch` are encoded as negative numbers. */
  column(table: MibTable, field: string): Column | undefined {
    if (this.#whole.has(table)) return this.#whole.column(table, field);
    const column = this.#patch.column(table, field);
    return column === undefined ? undefined : ((-1 - column) as Column);
  }

  value(row: number, column: Column): Counter | undefined {
    if (column >= 0) return this.#whole.value(row, column);
    const patchRow = this.#patchRows.get(this.ids[row] as NetnsId);
    return patchRow === undefined ? undefined : this.#patch.value(patchRow, (-1 - column) as Column);
  }
}
