import type { BpfSource, ObjectSpec } from '#sources/bpf/source.ts';
import type { Cpus } from '#sources/procfs/cpus.ts';

const DONE = 2 ** 31;

/** Layout of the rows of a BPF program, as far as the machine of a test has to know it. */
export interface RowShape {
  readonly rows: string;
  readonly size: number;
  /** Offset of the cookie, of the flag that the row is complete, and of the sum over CPUs that the test looks at. */
  readonly cookieAt: number;
  readonly completeAt: number;
  readonly sumAt: number;
}

/** A machine of any shape, as the programs that sum over its CPUs see it: each namespace has a share for each possible CPU. */
export class Machine {
  readonly possible: readonly number[];
  online: readonly number[];
  /** Shares by cookie and CPU. */
  readonly shares = new Map<number, Map<number, number>>();
  readonly #shape: RowShape;

  constructor(possible: readonly number[], shape: RowShape) {
    this.possible = possible;
    this.online = possible;
    this.#shape = shape;
  }

  get cpus(): Cpus {
    return { possible: () => this.possible, online: () => this.online };
  }

  /** Adds to the share of one CPU in every namespace. */
  count(cpu: number, amount: number, share = (sum: number) => sum): void {
    for (const shares of this.shares.values()) shares.set(cpu, share((shares.get(cpu) ?? 0) + amount));
  }

  /** Loads programs. The machine runs them, and accepts only what real ones would: whole numbers, possible CPUs. */
  get bpf(): BpfSource {
    const load = async ({ sizes = {} }: ObjectSpec) => this.#object(sizes as Readonly<Record<string, number>>);
    return { load } as unknown as BpfSource;
  }

  #object(sizes: Readonly<Record<string, number>>) {
    const { rows, size } = this.#shape;
    const table: number[] = [];
    let written = new Uint8Array();
    const maps: Record<string, unknown> = {
      percpu_cpus: {
        update: (key: Uint8Array, value: Uint8Array) => {
          const [index, cpu] = [u32(key), u32(value)];
          if (index >= (sizes['percpu_cpus'] ?? 1)) throw new Error(`no place ${index} for a CPU`);
          table[index] = cpu;
        },
      },
      [rows]: { readMapped: (target: Uint8Array, bytes: number) => target.set(written.subarray(0, bytes)) },
      sock_places: {
        dump: () => ({ count: 6, view: new DataView(new ArrayBuffer(24)), valueAt: (at: number) => 4 * at }),
      },
    };
    return {
      map: (name: string) => maps[name],
      run: (program: string, [skip = 0n, count = 0n, cpus = 0n]: BigUint64Array) => {
        if (program === 'sock_protocols') return 1;
        const summed = table.slice(0, Number(cpus));
        const cookies = [...this.shares.keys()].slice(Number(skip), Number(skip + count));
        written = new Uint8Array(cookies.length * size);
        for (const [row, cookie] of cookies.entries())
          this.#write(new DataView(written.buffer, row * size), cookie, summed, cpus);
        return cookies.length + (Number(skip + count) > this.shares.size ? DONE : 0);
      },
      close: () => undefined,
      [Symbol.dispose]: () => undefined,
    };
  }

  #write(row: DataView, cookie: number, cpus: readonly number[], wanted: bigint): void {
    const { cookieAt, completeAt, sumAt } = this.#shape;
    const isWhole = BigInt(cpus.length) === wanted && cpus.every((cpu) => this.possible.includes(cpu));
    row.setBigUint64(cookieAt, BigInt(cookie), true);
    row.setUint32(completeAt, isWhole ? 1 : 0, true);
    const sum = cpus.reduce((total, cpu) => total + (this.shares.get(cookie)?.get(cpu) ?? 0), 0);
    row.setBigUint64(sumAt, BigInt(sum), true);
  }
}

function u32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}
