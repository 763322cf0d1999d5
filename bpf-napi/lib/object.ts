import { BpfError, guarded, guardedAsync } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { BpfLink } from './link.ts';
import { BpfMap } from './map.ts';
import { type NativeObject, native } from './native.ts';

/** A program of an object. `section` is its ELF section, which determines the hook, for example `tp_btf/kfree_skb`. */
export interface BpfProgram {
  readonly name: string;
  readonly section: string;
}

/**
 * Information from the kernel about a loaded program. `runs` and `runNanoseconds` are zero while no BpfStats is open.
 */
export interface BpfProgramInfo {
  readonly id: number;
  readonly runNanoseconds: bigint;
  readonly runs: bigint;
  /** Number of runs that the kernel skipped because the program was already running on that CPU (since 5.12). */
  readonly missed: bigint;
}

export interface PacketRunOptions {
  /** Number of times to run the program on the packet: 1 to 1,000,000. Default: 1. All runs block the thread. */
  readonly repeat?: number;
  /** Maximum size of the resulting packet in bytes. Default: 256 bytes more than the size of the given packet. */
  readonly bytesMax?: number;
}

export interface PacketRun {
  /** 32-bit result of the last run. */
  readonly result: number;
  /** Packet after the last run. */
  readonly packet: Uint8Array;
  /** Average duration of a run. */
  readonly nanoseconds: number;
}

export interface IteratorOptions {
  /** Maximum size of the output in bytes. Longer output is an error. */
  readonly bytesMax: number;
  /** Map to iterate over. Required for map iterators (`iter/bpf_map_elem`, `iter/bpf_sk_storage_map`). */
  readonly map?: BpfMap;
}

const EINVAL = 22;
const REPEAT_MAX = 1_000_000;
const PACKET_GROWTH_BYTES = 256;
const PACKET_BYTES_MAX = 1 << 20;

/**
 * An instance of a BPF object file. The usual order is: `open`, select programs, set variables and sizes, `load`,
 * `attach`, `close`. Closing detaches all programs and frees all maps. `close` may be called repeatedly and at any
 * time, even during a load.
 */
export class BpfObject implements Disposable {
  readonly programs: readonly BpfProgram[];
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly #native: NativeObject;

  /** Path of the object file. */
  readonly name: string;

  private constructor(name: string, handle: NativeObject) {
    this.name = name;
    this.#native = handle;
    this.programs = handle.programs();
    this.maps = new Map(handle.maps().map((map, index) => [map.name, new BpfMap(this, handle, index, map)]));
    watchForLeak(this, handle, `BPF object ${name}`);
  }

  /**
   * Opens and parses the file in a worker thread. Does not load anything into the kernel yet.
   * @throws {BpfError} BPF_OPEN, BPF_UNAVAILABLE
   */
  static async open(path: string): Promise<BpfObject> {
    const handle = await guardedAsync('BPF_OPEN', () => native().openObject(path));
    return new BpfObject(path, handle);
  }

  /** Selects the programs that `load` loads into the kernel. */
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
   * Sets a variable. Integers must be non-negative and in the range of the variable's type, and byte arrays must have
   * the variable's size. A `const volatile` variable must be set before `load`, and the verifier removes code that its
   * value makes unreachable. A variable in the section `.data` may also be set while programs run: each aligned word of
   * up to 8 bytes is stored atomically.
   */
  setVariable(name: string, value: boolean | number | bigint | Uint8Array): void {
    const plain = value instanceof Uint8Array ? value : BigInt(value);
    guarded('BPF_OPEN', () => this.#native.setVariable(name, plain));
  }

  /**
   * @throws {BpfError} BPF_MAP if the object has no such map
   */
  map(name: string): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new BpfError('BPF_MAP', `${this.name} has no map ${name}`, { subject: name });
    return map;
  }

  /**
   * Creates the maps and loads the selected programs, in a worker thread.
   * @throws {BpfError} BPF_VERIFIER, BPF_LOAD, BPF_CLOSED
   */
  load(): Promise<void> {
    return guardedAsync('BPF_LOAD', () => this.#native.load());
  }

  /**
   * Attaches a loaded program to the hook that its section names, in a worker thread.
   * @throws {BpfError} BPF_ATTACH, BPF_CLOSED
   */
  async attach(program: string): Promise<BpfLink> {
    return this.#link(program, await guardedAsync('BPF_ATTACH', () => this.#native.attach(program)));
  }

  /**
   * Attaches a loaded cgroup program (`cgroup_skb/egress`, `sockops`, …) to a cgroup, in a worker thread. The program
   * also applies to the cgroup's descendants. Programs that are already attached remain attached.
   * @param cgroup path of the cgroup's directory in a v2 hierarchy, or a descriptor of it, which the caller may close
   *   right after the call
   * @throws {BpfError} BPF_ATTACH (EPERM without CAP_NET_ADMIN), BPF_CLOSED
   */
  async attachCgroup(program: string, cgroup: string | number): Promise<BpfLink> {
    return this.#link(program, await guardedAsync('BPF_ATTACH', () => this.#native.attachCgroup(program, cgroup)));
  }

  /**
   * Puts a loaded program into a slot of a PROG_ARRAY for use by `bpf_tail_call`. Replaces any program in the slot. The
   * array may belong to another object and continues to exist at least until the link is closed.
   * @throws {BpfError} BPF_ATTACH if the array, the slot or the program type does not match; BPF_CLOSED
   */
  plug(program: string, array: BpfMap, index: number): BpfLink {
    return this.#link(
      program,
      guarded('BPF_ATTACH', () => this.#native.plug(program, array.fd, index)),
    );
  }

  /**
   * Detaches all programs from hooks, cgroups and arrays. The maps remain, so that their final contents can be read.
   */
  detach(): void {
    guarded('BPF_ATTACH', () => this.#native.detach());
  }

  /**
   * Runs a raw tracepoint program once on this thread (BPF_PROG_TEST_RUN) and returns its 32-bit result. The program
   * gets `args`, which has at most twelve elements, as its context.
   */
  run(program: string, args: BigUint64Array): number {
    return guarded('BPF_RUN', () => this.#native.run(program, args));
  }

  /**
   * Runs a packet program (tc, cgroup_skb, …) on the given packet in this thread's network namespace
   * (BPF_PROG_TEST_RUN). The program need not be attached.
   * @param packet Ethernet frame, including its header even for programs that start at the IP header; 14 to about 3,500
   *   bytes (the kernel's limit)
   * @throws {BpfError} BPF_RUN (ENOSPC if the resulting packet is longer than bytesMax)
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
   * Runs an iterator program (`iter/tcp`, …) over all entries in this thread's network namespace and returns its
   * output. The program is attached only during the run.
   * @throws {BpfError} BPF_ITERATOR (ENOBUFS if the output exceeds bytesMax, E2BIG if a single entry has 32 KiB of
   *   output or more)
   */
  readIterator(program: string, { bytesMax, map }: IteratorOptions): Uint8Array {
    return guarded('BPF_ITERATOR', () => this.#native.readIterator(program, bytesMax, map?.fd));
  }

  /**
   * Like `readIterator`, for runs that take long. The run starts immediately in this thread's network namespace and
   * continues in a worker thread, even if the object is closed. The program and the map are kept until the run has
   * finished.
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
    const message = `run ${program}: ${field} must be an integer from 1 to ${max}, not ${value}`;
    throw new BpfError('BPF_RUN', message, { operation: 'run', subject: program, errno: EINVAL });
  }
}
