import { BpfError, guarded, guardedAsync } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { BpfMap } from './map.ts';
import { type NativeObject, native } from './native.ts';

/** One program of an object. `section` is its ELF section, which tells the hook: `tp_btf/kfree_skb`. */
export interface BpfProgram {
  readonly name: string;
  readonly section: string;
}

/** What the kernel knows of a loaded program. The times are zero unless statistics are enabled. */
export interface BpfProgramInfo {
  readonly id: number;
  readonly runNanoseconds: bigint;
  readonly runs: bigint;
  /** Runs that the kernel skipped because the program was already running on that CPU (since 5.12). */
  readonly missed: bigint;
}

/**
 * An instance of a BPF object file. The order is: open, choose programs, set constants and sizes, `load`,
 * `attach`, `close`. Closing detaches every program and frees every map; it may be done at any time, also
 * while a load is under way, and more than once.
 */
export class BpfObject implements Disposable {
  readonly programs: readonly BpfProgram[];
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly #native: NativeObject;

  /** The path that it was opened from. */
  readonly name: string;

  private constructor(name: string, handle: NativeObject) {
    this.name = name;
    this.#native = handle;
    this.programs = handle.programs();
    this.maps = new Map(handle.maps().map((map, index) => [map.name, new BpfMap(this, handle, index, map)]));
    watchForLeak(this, handle, `BPF object ${name}`);
  }

  /**
   * Reads and parses the file, off the event loop. Nothing is in the kernel yet.
   * @throws {BpfError} BPF_OPEN, BPF_UNAVAILABLE
   */
  static async open(path: string): Promise<BpfObject> {
    const handle = await guardedAsync('BPF_OPEN', () => native().openObject(path));
    return new BpfObject(path, handle);
  }

  /** Loads these programs only. A program that is not named costs nothing in the kernel. */
  choosePrograms(names: readonly string[]): void {
    for (const name of names) {
      if (!this.programs.some((program) => program.name === name)) {
        throw new BpfError('BPF_OPEN', `${this.name} has no program ${name}`, { subject: name });
      }
    }
    for (const { name } of this.programs) {
      guarded('BPF_OPEN', () => this.#native.setAutoload(name, names.includes(name)));
    }
  }

  /**
   * Sets a `const volatile` variable. An integer must not be negative and must fit the variable; a byte array
   * must have its size. What such a constant rules out, the verifier removes from the program.
   */
  setConstant(name: string, value: boolean | number | bigint | Uint8Array): void {
    const plain = value instanceof Uint8Array ? value : BigInt(value);
    guarded('BPF_OPEN', () => this.#native.setConstant(name, plain));
  }

  /** @throws {BpfError} BPF_MAP where the object has no such map. */
  map(name: string): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new BpfError('BPF_MAP', `${this.name} has no map ${name}`, { subject: name });
    return map;
  }

  /**
   * Creates the maps and loads the chosen programs, off the event loop.
   * @throws {BpfError} BPF_VERIFIER, BPF_LOAD, BPF_CLOSED
   */
  load(): Promise<void> {
    return guardedAsync('BPF_LOAD', () => this.#native.load());
  }

  /**
   * Attaches a loaded program to the hook of its section, off the event loop.
   * @throws {BpfError} BPF_ATTACH, BPF_CLOSED
   */
  attach(program: string): Promise<void> {
    return guardedAsync('BPF_ATTACH', () => this.#native.attach(program));
  }

  /** Detaches every program. The maps stay, so that the last counts can be read. */
  detach(): void {
    guarded('BPF_ATTACH', () => this.#native.detach());
  }

  /**
   * Runs a raw tracepoint program once on this thread (BPF_PROG_TEST_RUN) and returns its result, 32 bits.
   * `args` are its context: at most twelve.
   */
  run(program: string, args: BigUint64Array): number {
    return guarded('BPF_RUN', () => this.#native.run(program, args));
  }

  programInfo(program: string): BpfProgramInfo {
    return guarded('BPF_LOAD', () => this.#native.programInfo(program));
  }

  /** For BpfRing. */
  get handle(): NativeObject {
    return this.#native;
  }

  close(): void {
    closed(this);
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
