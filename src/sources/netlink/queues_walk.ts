import { FILE, type Layout, MAX_ENTRIES, qdiscRow } from '#bpf/generated/qdisc.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { ListWalk, rowsOf } from '../bpf/list_walk.ts';
import type { BpfSource, LoadedObject } from '../bpf/source.ts';
import type { KernelWalk } from '../walk_source.ts';

const ROWS_MAX = MAX_ENTRIES.qdisc_rows;
const ROWS_FIRST = 128;

/** Finds the namespaces in which at least one device has a queue. */
export class QueuesWalk implements KernelWalk<ReadonlySet<NetnsId>> {
  readonly #object: LoadedObject<Layout>;
  readonly #walk = new ListWalk(ROWS_MAX, ROWS_FIRST);
  readonly #buffer = new Uint8Array(ROWS_MAX * qdiscRow.SIZE);
  readonly #view = new DataView(this.#buffer.buffer);

  private constructor(object: LoadedObject<Layout>) {
    this.#object = object;
  }

  /**
   * @throws {Unsupported} if the kernel cannot run the program
   */
  static async open(bpf: BpfSource): Promise<QueuesWalk> {
    return new QueuesWalk(await bpf.load<Layout>({ file: FILE, programs: ['qdisc_find'], helpers: ['loop'] }));
  }

  async read(cycle: Cycle): Promise<ReadonlySet<NetnsId>> {
    const found = new Set<NetnsId>();
    const place = (index: number) => index * qdiscRow.SIZE;
    await this.#walk.run(
      (skip, count, goesOn) => {
        const result = this.#object.run('qdisc_find', BigUint64Array.of(BigInt(skip), BigInt(count), goesOn));
        this.#object.map('qdisc_rows').readMapped(this.#buffer, place(rowsOf(result)));
        return result;
      },
      {
        key: (index) => qdiscRow.cookie(this.#view, place(index)),
        row: (index) => {
          const at = place(index);
          if (qdiscRow.hasQueue(this.#view, at) !== 0) found.add(asNetnsId(qdiscRow.cookie(this.#view, at)));
        },
      },
      cycle,
    );
    return found;
  }

  [Symbol.dispose](): void {
    this.#object[Symbol.dispose]();
  }
}
