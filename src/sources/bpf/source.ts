import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpfError, type BpfMap, BpfObject, unavailable } from 'bpf-napi';
import type { ObjectLayout } from '#bpf/layout.ts';
import { Unsupported } from '#core/reader.ts';
import { describeMissing, missingCapabilities } from '../procfs/capabilities.ts';
import { readText } from '../procfs/read.ts';
import { refusalOf } from '../refusals.ts';
import { Btf, KIND } from './btf.ts';

const BTF = 'kernel/btf';

const EPERM = 1;
const EACCES = 13;

export interface ObjectSpec<L extends ObjectLayout = ObjectLayout> {
  /** File name in the directory of objects. */
  readonly file: string;
  /** Programs to load; the others of the file cost nothing. */
  readonly programs: readonly L['program'][];
  readonly constants?: Partial<Readonly<Record<L['constant'], boolean | number | bigint | Uint8Array>>>;
  /** Entries of a map, or bytes of a ring, where they differ from those in the file. */
  readonly sizes?: Partial<Readonly<Record<L['map'], number>>>;
  /**
   * Entries of hashes that allocate the memory of each entry when it is made. Where programs may not do that, `sizes` or the file gives
   * the number.
   */
  readonly onDemand?: Partial<Readonly<Record<L['map'], number>>>;
  /** BPF helpers that the programs need, without the prefix `bpf_`: the error of a kernel that lacks one says something else. */
  readonly helpers?: readonly string[];
  /** Maps that the chosen programs cannot reach, given the constants; a file need not have them all. */
  readonly without?: readonly L['map'][];
}

/** A loaded object, typed by its contents: a name that it does not have does not compile. */
export interface LoadedObject<L extends ObjectLayout> extends Disposable {
  map(name: L['map']): BpfMap;
  run(program: L['program'], args: BigUint64Array): number;
}

/** Loads our BPF objects and provides the kernel's types. */
export class BpfSource {
  /** Kinds of programs that this kernel refused for the kind itself, with the reason. */
  readonly refusedKinds = new Map<string, string>();
  readonly #directory: string;
  readonly #modules: string;
  readonly #loaded: string;
  readonly #kprobes: string;
  readonly #vmlinux: string;
  #btf: WeakRef<Btf> | undefined;
  /** Answers that every load needs from the types, so that an object that is loaded again, with larger maps, need not read them again. */
  #asked: { readonly helpers: ReadonlySet<string> | undefined; readonly allocatesOnDemand: boolean } | undefined;

  /** @param directory directory of the compiled objects, @param sys where sysfs is mounted */
  constructor(directory: string, sys: string) {
    this.#directory = directory;
    this.#modules = join(sys, BTF);
    this.#loaded = join(sys, 'module');
    this.#kprobes = join(sys, 'bus/event_source/devices/kprobe');
    this.#vmlinux = join(this.#modules, 'vmlinux');
  }

  /**
   * Types of the running kernel: some megabytes, held only while somebody uses them.
   * @throws {Unsupported} where the kernel shows none
   */
  btf(): Btf {
    const cached = this.#btf?.deref();
    if (cached !== undefined) return cached;
    if (!existsSync(this.#vmlinux)) throw new Unsupported(`this kernel has no BTF (${this.#vmlinux} is missing)`);
    const btf = new Btf(readFileSync(this.#vmlinux));
    this.#btf = new WeakRef(btf);
    return btf;
  }

  /** Returns the types of a loaded module, on top of the kernel's; undefined where it is not loaded or shows none. */
  moduleBtf(module: string): Btf | undefined {
    try {
      return new Btf(readFileSync(join(this.#modules, module)), this.btf());
    } catch {
      return undefined;
    }
  }

  /** Kprobes are made through a kind of performance event of their own (kernel: kernel/events/core.c, perf_kprobe). */
  hasKprobes(): boolean {
    return existsSync(this.#kprobes);
  }

  /** Whether the module is loaded, but the kernel shows no types of it. */
  lacksTypes(module: string): boolean {
    // A built-in driver has no state, and its types are the kernel's.
    return existsSync(join(this.#loaded, module, 'initstate')) && !existsSync(join(this.#modules, module));
  }

  /** @throws {Unsupported} where no object can be loaded at all: the addon or libbpf is missing */
  check(): void {
    const missing = unavailable();
    if (missing !== undefined) throw new Unsupported(`the addon cannot be loaded: ${missing}`);
  }

  /**
   * Opens an instance of an object file and loads what the spec lists; nothing is attached yet. The caller closes it.
   * @throws {Unsupported} where the addon, the object, BTF, a capability or a kernel feature is missing
   * @throws {BpfError} for errors that may be transient, such as a lack of memory
   */
  async load<L extends ObjectLayout>(spec: ObjectSpec<L>): Promise<BpfObject> {
    this.check();
    const path = join(this.#directory, spec.file);
    if (!existsSync(path)) throw new Unsupported(`${spec.file} was not built: scripts/setup needs clang for it`);
    if (!existsSync(this.#vmlinux)) throw new Unsupported(`this kernel has no BTF (${this.#vmlinux} is missing)`);
    this.#needHelpers(spec.helpers ?? []);
    const object = await BpfObject.open(path);
    try {
      configure(object, spec);
      if (this.allocatesOnDemand()) takeOnDemand(object, spec.onDemand ?? {});
      await object.load();
      return object;
    } catch (error) {
      object.close();
      throw asUnsupported(error);
    }
  }

  /** Returns whether the kernel has a BPF helper, named without `bpf_`; true where its types do not say, since loading will. */
  hasHelper(name: string): boolean {
    const { helpers } = this.#answers();
    return helpers === undefined || helpers.has(`BPF_FUNC_${name}`);
  }

  /**
   * Returns whether programs may make hash entries whose memory is not allocated yet: since 6.1 from a cache of their own (kernel:
   * kernel/bpf/memalloc.c).
   */
  allocatesOnDemand(): boolean {
    return this.#answers().allocatesOnDemand;
  }

  #answers() {
    if (this.#asked === undefined) {
      const btf = this.btf();
      const helpers = btf.enumWithMember('BPF_FUNC_map_lookup_elem');
      this.#asked = {
        helpers: helpers && new Set(helpers.keys()),
        allocatesOnDemand: btf.find(KIND.struct, 'bpf_mem_alloc') !== undefined,
      };
    }
    return this.#asked;
  }

  #needHelpers(names: readonly string[]): void {
    const missing = names.filter((name) => !this.hasHelper(name)).map((name) => `bpf_${name}`);
    if (missing.length > 0) throw new Unsupported(`this kernel lacks the BPF helper ${missing.join(' and ')}`);
  }
}

function configure(object: BpfObject, spec: ObjectSpec): void {
  object.choosePrograms(spec.programs);
  for (const [name, value] of Object.entries(spec.constants ?? {})) {
    if (value !== undefined) object.setConstant(name, value);
  }
  for (const [name, entries] of Object.entries(spec.sizes ?? {})) {
    if (entries !== undefined) object.map(name).resize(entries);
  }
  for (const name of spec.without ?? []) object.maps.get(name)?.create(false);
}

function takeOnDemand(object: BpfObject, maps: NonNullable<ObjectSpec['onDemand']>): void {
  for (const [name, entries] of Object.entries(maps)) {
    if (entries === undefined) continue;
    object.map(name).resize(entries);
    object.map(name).allocateOnDemand();
  }
}

/**
 * Turns errors that the kernel will return again, whatever we do, into {@link Unsupported}.
 * @param lockdown man 7 kernel_lockdown; undefined where it cannot be read
 */
export function asUnsupported(error: unknown, lockdown = readText(LOCKDOWN)): unknown {
  if (!(error instanceof BpfError)) return error;
  const lasting = error.code === 'BPF_VERIFIER' || error.errno === EPERM || error.errno === EACCES;
  if (!lasting) return error;
  return new Unsupported([error.message, ...whyRefused(error, lockdown)].join(': '), { cause: error });
}

function whyRefused(error: BpfError, lockdown: string | undefined): readonly string[] {
  if (isLockedDown(error, lockdown)) return [CONFIDENTIALITY];
  if (error.errno !== EPERM) return [];
  if (error.code === 'BPF_LOAD') return [whyNotPermitted(error)];
  const refusal = refusalOf('perf_event_open');
  return error.code === 'BPF_ATTACH' && refusal !== undefined ? [refusal] : [];
}

/** Under confidentiality lockdown, programs have no helper that reads kernel memory (kernel: kernel/bpf/helpers.c, bpf_base_func_proto). */
function isLockedDown({ message, verifier }: BpfError, lockdown: string | undefined): boolean {
  const lacksReads = READ_HELPERS.test([message, ...verifier].join('\n'));
  return lacksReads && (lockdown === undefined || lockdown.includes('[confidentiality]'));
}

const LOCKDOWN = '/sys/kernel/security/lockdown';
const CONFIDENTIALITY =
  'the kernel is locked down (lockdown=confidentiality), so that no program may read its memory; start it with lockdown=integrity';
const READ_HELPERS = /(cannot use helper|unknown func) bpf_probe_read/;

/** CAP_SYS_ADMIN covers the two that came with 5.8. Before 5.11, maps are locked memory (man 2 getrlimit). */
function whyNotPermitted({ log }: BpfError): string {
  if (missingCapabilities(['CAP_SYS_ADMIN']).length > 0) {
    const missing = describeMissing(missingCapabilities(['CAP_BPF', 'CAP_PERFMON']));
    if (missing !== '') return missing;
  }
  const memory = describeMissing(missingCapabilities(['CAP_SYS_RESOURCE']));
  return memory !== '' && /failed to create/.test(log)
    ? `${memory}, which this kernel requires where maps are larger than \`ulimit -l\``
    : (refusalOf('bpf') ?? 'this kernel allows no such program');
}
