import {
  FILE,
  type Layout,
  MAX_ENTRIES,
  sockFragments,
  sockPlace,
  sockProtocol,
  sockRow,
} from '#bpf/generated/sock.ts';
import { type Counter, notNegative } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { type PerCpuProgram, type PerCpuRows, PerCpuWalk } from '../bpf/percpu_walk.ts';
import type { BpfSource, LoadedObject } from '../bpf/source.ts';
import type { Cpus } from '../procfs/cpus.ts';
import type { KernelWalk } from '../walk_source.ts';
import type { FamilyCounts, SockstatRow } from './snapshot.ts';

const { SIZE, offsets } = sockRow;

const PROGRAM: PerCpuProgram<Layout> = {
  file: FILE,
  programs: ['sock_read', 'sock_protocols'],
  rows: 'sock_rows',
  rowsMax: MAX_ENTRIES.sock_rows,
  row: sockRow,
  sums: { at: offsets.sumsUsed, bytes: SIZE - offsets.sumsUsed },
  sumsFirst: 400,
};

/** Indices of the protocols and of the fragment counts, by IP version. */
const { tcp, udp, raw, tcp6, udp6, raw6 } = sockProtocol;
const FAMILIES = {
  ipv4: { tcp, udp, raw, fragments: sockFragments.ipv4 },
  ipv6: { tcp: tcp6, udp: udp6, raw: raw6, fragments: sockFragments.ipv6 },
} as const;
const U64_BYTES = 8;

/** Reads the socket counts of all namespaces directly from the kernel's data structures. */
export class SockstatWalk implements KernelWalk<readonly SockstatRow[]> {
  readonly #walk: PerCpuWalk;
  /** Whether this kernel supports each protocol. */
  readonly #has: readonly boolean[];

  private constructor(walk: PerCpuWalk, has: readonly boolean[]) {
    this.#walk = walk;
    this.#has = has;
  }

  /**
   * @param isNobodys returns whether a namespace is unowned; unowned namespaces get no row
   * @throws {Unsupported} if the kernel cannot run the program: before 6.1, without BTF, or without the capability
   */
  static async open(
    bpf: BpfSource,
    cpus: Cpus,
    isNobodys: (id: NetnsId) => boolean = () => false,
  ): Promise<SockstatWalk> {
    const walk = await PerCpuWalk.open(bpf, PROGRAM, cpus, isNobodys);
    const object: LoadedObject<Layout> = walk.object;
    object.run('sock_protocols', new BigUint64Array());
    const places = object.map('sock_places').dump();
    const has = Array.from(
      { length: places.count },
      (_, index) => places.view.getUint32(places.valueAt(index), true) !== sockPlace.none,
    );
    if (has[tcp] !== true) {
      walk[Symbol.dispose]();
      throw new Error('the BPF program found no socket protocols in the kernel');
    }
    return new SockstatWalk(walk, has);
  }

  async read(cycle: Cycle): Promise<readonly SockstatRow[]> {
    const rows = await this.#walk.read(cycle);
    const complete: SockstatRow[] = [];
    for (let row = 0; row < rows.ids.length; row++) {
      const isComplete = sockRow.complete(rows.view, row * SIZE) === 1;
      if (isComplete) complete.push(new SummedRow(rows.ids[row] as NetnsId, rows, row, this.#has));
    }
    return complete;
  }

  [Symbol.dispose](): void {
    this.#walk[Symbol.dispose]();
  }
}

/** A row that decodes values on access, because most of them are never shown. Valid as long as `rows`. */
class SummedRow implements SockstatRow {
  readonly id: NetnsId;
  readonly #rows: PerCpuRows;
  readonly #row: number;
  readonly #has: readonly boolean[];
  #ipv4: FamilyCounts | undefined;
  #ipv6: FamilyCounts | undefined;

  /** @param has whether this kernel supports each protocol */
  constructor(id: NetnsId, rows: PerCpuRows, row: number, has: readonly boolean[]) {
    this.id = id;
    this.#rows = rows;
    this.#row = row;
    this.#has = has;
  }

  get used(): Counter {
    return notNegative(this.#rows.sum(this.#row, offsets.sumsUsed));
  }

  get timeWait(): Counter {
    return notNegative(sockRow.timeWait(this.#rows.view, this.#row * SIZE));
  }

  get ipv4(): FamilyCounts {
    this.#ipv4 ??= this.#family('ipv4');
    return this.#ipv4;
  }

  get ipv6(): FamilyCounts {
    this.#ipv6 ??= this.#family('ipv6');
    return this.#ipv6;
  }

  #family(family: keyof typeof FAMILIES): FamilyCounts {
    const { tcp, udp, raw, fragments } = FAMILIES[family];
    const at = this.#row * SIZE;
    const { view } = this.#rows;
    return {
      tcp: this.#inUse(tcp),
      udp: this.#inUse(udp),
      raw: this.#inUse(raw),
      fragmentQueues: notNegative(sockRow.fragmentQueues(view, at, fragments)),
      fragmentBytes: notNegative(sockRow.fragmentBytes(view, at, fragments)),
    };
  }

  #inUse(protocol: number): Counter | undefined {
    if (this.#has[protocol] !== true) return undefined;
    return notNegative(this.#rows.sum(this.#row, offsets.sumsInUse + protocol * U64_BYTES));
  }
}
