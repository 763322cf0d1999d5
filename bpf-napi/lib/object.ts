import { BpfError, guarded, guardedAsync } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { BpfLink } from './link.ts';
import { BpfMap } from './map.ts';
import { type NativeObject, native } from './native.ts';

/** One program of an object. `section` is its ELF section, which names the hook: `tp_btf/kfree_skb`. */
export interface BpfProgram {
  readonly name: string;
  readonly section: string;
}

/** The kernel's information about a loaded program. The times are zero unless statistics are enabled. */
export interface BpfProgramInfo {
  readonly id: number;
  readonly runNanoseconds: bigint;
  readonly runs: bigint;
  /** Runs that the kernel skipped because the program was already running on that CPU (since 5.12). */
  readonly missed: bigint;
}

export interface PacketRunOptions {
  /** Number of runs on the packet: 1 to 1,000,000, 1 by default. The thread is blocked meanwhile. */
  readonly repeat?: number;
  /** Bytes of the longest packet that the program may leave; by default 256 more than it gets. */
  readonly bytesMax?: number;
}

export interface PacketRun {
  /** Result of the last run, 32 bits. */
  readonly result: number;
  /** The packet as the last run left it. */
  readonly packet: Uint8Array;
  /** Average time of one run. */
  readonly nanoseconds: number;
}

export interface IteratorOptions {
  /** Refuses a longer output. */
  readonly bytesMax: number;
  /** The map to walk, for iterators that take one (`iter/bpf_map_elem`, `iter/bpf_sk_storage_map`). */
  readonly map?: BpfMap;
}

const EINVAL = 22;
const REPEAT_MAX = 1_000_000;
const PACKET_GROWTH_BYTES = 256;
const PACKET_BYTES_MAX = 1 << 20;

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
   * must have its size. The verifier removes code that such a constant rules out.
   */
  setConstant(name: string, value: boolean | number | bigint | Uint8Array): void {
    const plain = value instanceof Uint8Array ? value : BigInt(value);
    guarded('BPF_OPEN', () => this.#native.setConstant(name, plain));
  }

  /** @throws {BpfError} BPF_MAP if the object has no such map. */
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
  async attach(program: string): Promise<BpfLink> {
    return this.#link(program, await guardedAsync('BPF_ATTACH', () => this.#native.attach(program)));
  }

  /**
   * Attaches a loaded program of a cgroup type (`cgroup_skb/egress`, `sockops`, …) to a cgroup, beside the programs that are
   * there, off the event loop. It sees what the cgroup and those below do.
   * @param cgroup folder of the cgroup in a hierarchy of version 2, or a descriptor of it, which may be closed at once
   * @throws {BpfError} BPF_ATTACH, with EPERM without CAP_NET_ADMIN; BPF_CLOSED
   */
  async attachCgroup(program: string, cgroup: string | number): Promise<BpfLink> {
    return this.#link(program, await guardedAsync('BPF_ATTACH', () => this.#native.attachCgroup(program, cgroup)));
  }

  /**
   * Puts a loaded program into a place of a PROG_ARRAY, for `bpf_tail_call`. The array may be another object's; it lives
   * until the link is closed. A program that was in the place before is removed.
   * @throws {BpfError} BPF_ATTACH: no such array, place or type of program; BPF_CLOSED
   */
  plug(program: string, array: BpfMap, index: number): BpfLink {
    return this.#link(
      program,
      guarded('BPF_ATTACH', () => this.#native.plug(program, array.fd, index)),
    );
  }

  /** Detaches every program, from hooks, cgroups and arrays. The maps stay, so that the last counts can be read. */
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

  /**
   * Runs a program that gets packets (tc, cgroup_skb, …) on the given packet, in this thread's network namespace
   * (BPF_PROG_TEST_RUN). It need not be attached.
   * @param packet an Ethernet frame with its header, even for programs that see it from the IP header on; 14 to about
   *   3,500 bytes, the kernel's limit
   * @throws {BpfError} BPF_RUN, with ENOSPC if the resulting packet is longer than bytesMax
   */
  runPacket(program: string, packet: Uint8Array, options: PacketRunOptions = {}): PacketRun {
    const { repeat = 1, bytesMax = packet.length + PACKET_GROWTH_BYTES } = options;
    this.#bound(program, 'repeat', repeat, REPEAT_MAX);
    this.#bound(program, 'bytesMax', bytesMax, PACKET_BYTES_MAX);
    const left = new Uint8Array(bytesMax);
    const { result, bytes, nanoseconds } = guarded('BPF_RUN', () =>
      this.#native.runPacket(program, packet, left, repeat),
    );
    return { result, packet: left.subarray(0, bytes), nanoseconds };
  }

  /**
   * Runs an iterator (`iter/tcp`, …) over its entries, in this thread's network namespace, and returns everything that the program
   * wrote. The program is attached for this walk only.
   * @throws {BpfError} BPF_ITERATOR, with ENOBUFS if it wrote more than bytesMax, E2BIG if 32 KiB or more for one entry
   */
  readIterator(program: string, { bytesMax, map }: IteratorOptions): Uint8Array {
    return guarded('BPF_ITERATOR', () => this.#native.readIterator(program, bytesMax, map?.fd));
  }

  /**
   * Does the same for a long walk: begins at once, in this thread's network namespace, and continues off the event loop. The walk runs to its
   * end even if the object is closed meanwhile, and holds program and map until then.
   * @throws {BpfError} as a rejection: BPF_ITERATOR
   */
  readIteratorAsync(program: string, { bytesMax, map }: IteratorOptions): Promise<Uint8Array> {
    return guardedAsync('BPF_ITERATOR', () => this.#native.readIteratorAsync(program, bytesMax, map?.fd));
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

  #link(program: string, id: number): BpfLink {
    return new BpfLink(this, this.#native, program, id);
  }

  #bound(program: string, field: string, value: number, max: number): void {
    if (Number.isInteger(value) && value >= 1 && value <= max) return;
    const message = `run ${program}: ${field} is ${value}, it must be an integer from 1 to ${max}`;
    throw new BpfError('BPF_RUN', message, { operation: 'run', subject: program, errno: EINVAL });
  }
}
