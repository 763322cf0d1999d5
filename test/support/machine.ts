import type { BpfSource, ObjectSpec } from '#sources/bpf/source.ts';
import type { Cpus } from '#sources/procfs/cpus.ts';

const DONE = 2 ** 31;

/** The parts of a BPF program's row layout that `Machine` needs. */
export interface RowShape {
  readonly rows: string;
  readonly size: number;
  /** Offsets of the cookie, of the flag for complete rows, and of the sum over CPUs that the test checks. */
  readonly cookieAt: number;
  readonly completeAt: number;
  readonly sumAt: number;
}

/**
 * A simulated machine with any number of CPUs, for BPF programs that sum up per-CPU counters. Each namespace has a
 * counter for each possible CPU.
 */
export class Machine {
  readonly possible: readonly number[];
  online: readonly number[];
  /** Counters by cookie and CPU. */
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

  /** Adds to the counter of one CPU in every namespace. */
  count(cpu: number, amount: number, share = (sum: number) => sum): void {
    for (const shares of this.shares.values()) shares.set(cpu, share((shares.get(cpu) ?? 0) + amount));
  }

  /**
   * A source whose programs run on this machine. Like a real kernel, it rejects fractions and CPUs that are not
   * possible.
   */
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
