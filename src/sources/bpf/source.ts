import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpfError, type BpfMap, BpfObject, unavailable } from 'bpf-napi';
import type { ObjectLayout } from '#bpf/layout.ts';
import { Unsupported } from '#core/reader.ts';
import { describeMissing, missingCapabilities } from '../procfs/capabilities.ts';
import { readText } from '../procfs/read.ts';
import { refusalOf } from '../refusals.ts';
import { rootOfCgroups } from '../sysfs/cgroup_root.ts';
import { Btf, KIND } from './btf.ts';

const BTF = 'kernel/btf';

const EPERM = 1;
const EACCES = 13;

export type VariableValue = boolean | number | bigint | Uint8Array;

export interface ObjectSpec<L extends ObjectLayout = ObjectLayout> {
  /** File name in the directory of compiled objects. */
  readonly file: string;
  /** Programs to load. Other programs in the file are ignored. */
  readonly programs: readonly L['program'][];
  /** Values of constants, and initial values of settings. */
  readonly constants?: Partial<Readonly<Record<L['constant'] | L['setting'], VariableValue>>>;
  /** Sizes that replace those in the object file: maximum number of entries of a map, or bytes of a ring buffer. */
  readonly sizes?: Partial<Readonly<Record<L['map'], number>>>;
  /**
   * Maximum numbers of entries for hash maps that allocate entries on demand. On kernels that do not support this,
   * `sizes` or the size in the object file applies.
   */
  readonly onDemand?: Partial<Readonly<Record<L['map'], number>>>;
  /**
   * BPF helpers that the programs need, without the prefix `bpf_`. They are checked before the load because the
   * kernel's error does not name the missing helper.
   */
  readonly helpers?: readonly string[];
  /**
   * Maps that the selected programs cannot reach with these constants. They are not created, and the file need not
   * contain them.
   */
  readonly without?: readonly L['map'][];
  /** Maps of another loaded object that replace this object's maps of the same names. */
  readonly shared?: Partial<Readonly<Record<L['map'], BpfMap>>>;
}

/** A loaded object. Its methods accept only names that exist in the object. */
export interface LoadedObject<L extends ObjectLayout> extends Disposable {
  map(name: L['map']): BpfMap;
  run(program: L['program'], args: BigUint64Array): number;
}

/** Loads the agent's BPF objects and provides the kernel's BTF. */
export class BpfSource {
  /** Program types that this kernel does not allow, with the reason. */
  readonly refusedKinds = new Map<string, string>();
  readonly #directory: string;
  readonly #cgroup: string;
  readonly #modules: string;
  readonly #loaded: string;
  readonly #kprobes: string;
  readonly #vmlinux: string;
  #btf: WeakRef<Btf> | undefined;
  /** Information from the BTF that every load needs. Stored so that the BTF is not parsed again for each load. */
  #asked: { readonly helpers: ReadonlySet<string> | undefined; readonly allocatesOnDemand: boolean } | undefined;

  /**
   * @param directory directory of the compiled objects
   * @param sys mount point of sysfs
   * @param cgroup mount point of the cgroup file system
   */
  constructor(directory: string, sys: string, cgroup = join(sys, 'fs/cgroup')) {
    this.#directory = directory;
    this.#cgroup = cgroup;
    this.#modules = join(sys, BTF);
    this.#loaded = join(sys, 'module');
    this.#kprobes = join(sys, 'bus/event_source/devices/kprobe');
    this.#vmlinux = join(this.#modules, 'vmlinux');
  }

  /**
   * The running kernel's BTF. Only weakly referenced here because it takes up several megabytes.
   * @throws {Unsupported} if the kernel has none
   */
  btf(): Btf {
    const cached = this.#btf?.deref();
    if (cached !== undefined) return cached;
    if (!existsSync(this.#vmlinux)) throw new Unsupported(`this kernel has no BTF (${this.#vmlinux} is missing)`);
    const btf = new Btf(readFileSync(this.#vmlinux));
    this.#btf = new WeakRef(btf);
    return btf;
  }

  /**
   * Returns the BTF of a loaded module, based on the kernel's BTF; undefined if the module is not loaded or has no BTF.
   */
  moduleBtf(module: string): Btf | undefined {
    try {
      return new Btf(readFileSync(join(this.#modules, module)), this.btf());
    } catch {
      return undefined;
    }
  }

  /**
   * Returns whether the kernel supports kprobes, which are a separate type of performance event (kernel:
   * kernel/events/core.c, perf_kprobe).
   */
  hasKprobes(): boolean {
    return existsSync(this.#kprobes);
  }

  /** Returns whether the module is loaded but has no BTF. */
  lacksTypes(module: string): boolean {
    // A built-in module has no file `initstate`, and its types are in the kernel's own BTF.
    return existsSync(join(this.#loaded, module, 'initstate')) && !existsSync(join(this.#modules, module));
  }

  /**
   * Returns the directory of the root cgroup. Programs attached to it see the packets of all sockets.
   * @throws {Unsupported} if it is not mounted
   */
  cgroupRoot(): string {
    return rootOfCgroups(this.#cgroup);
  }

  /**
   * Checks that objects can be loaded at all.
   * @throws {Unsupported} if the addon or libbpf is missing
   */
  check(): void {
    const missing = unavailable();
    if (missing !== undefined) throw new Unsupported(`the addon cannot be loaded: ${missing}`);
  }

  /**
   * Opens an instance of an object file and loads the programs and maps in the spec, without attaching anything. The
   * caller must close the object.
   * @throws {Unsupported} if the addon, the object, BTF, a capability or a kernel feature is missing
   * @throws {BpfError} for errors that may be transient, such as a memory shortage
   */
  async load<L extends ObjectLayout>(spec: ObjectSpec<L>): Promise<BpfObject> {
    this.check();
    const path = join(this.#directory, spec.file);
    if (!existsSync(path)) throw new Unsupported(`${spec.file} was not built because scripts/setup needs clang`);
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

  /**
   * Returns whether the kernel has a BPF helper. Returns true if the BTF does not list helpers; loading then fails if
   * the helper is missing.
   * @param name name without `bpf_`
   */
  hasHelper(name: string): boolean {
    const { helpers } = this.#answers();
    return helpers === undefined || helpers.has(`BPF_FUNC_${name}`);
  }

  /**
   * Returns whether programs can create hash map entries that are allocated on demand. This requires the memory
   * allocator for BPF that was added in 6.1 (kernel: kernel/bpf/memalloc.c).
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
    if (value !== undefined) object.setVariable(name, value);
  }
  for (const [name, entries] of Object.entries(spec.sizes ?? {})) {
    if (entries !== undefined) object.map(name).resize(entries);
  }
  for (const name of spec.without ?? []) object.maps.get(name)?.create(false);
  for (const [name, map] of Object.entries(spec.shared ?? {})) if (map !== undefined) object.map(name).reuse(map);
}

function takeOnDemand(object: BpfObject, maps: NonNullable<ObjectSpec['onDemand']>): void {
  for (const [name, entries] of Object.entries(maps)) {
    if (entries === undefined) continue;
    object.map(name).resize(entries);
    object.map(name).allocateOnDemand();
  }
}

/**
 * Converts errors that would recur on every retry into {@link Unsupported}.
 * @param lockdown content of the lockdown file (man 7 kernel_lockdown); undefined if it cannot be read
 * @param unprivileged reason why this process may not read kernel memory; empty if it may
 */
export function asUnsupported(
  error: unknown,
  lockdown = readText(LOCKDOWN),
  unprivileged = missingForReads(),
): unknown {
  if (!(error instanceof BpfError)) return error;
  const lasting = error.code === 'BPF_VERIFIER' || error.errno === EPERM || error.errno === EACCES;
  if (!lasting) return error;
  return new Unsupported([error.message, ...whyRefused(error, lockdown, unprivileged)].join(': '), { cause: error });
}

function whyRefused(error: BpfError, lockdown: string | undefined, unprivileged: string): readonly string[] {
  if (unprivileged !== '' && (lacksReads(error) || isRestricted(error))) return [unprivileged];
  if (isLockedDown(error, lockdown)) return [CONFIDENTIALITY];
  if (error.errno !== EPERM) return [];
  if (error.code === 'BPF_LOAD') return [whyNotPermitted(error)];
  const refusal = refusalOf('perf_event_open');
  return error.code === 'BPF_ATTACH' && refusal !== undefined ? [refusal] : [];
}

/**
 * Returns whether the cause is confidentiality lockdown, under which programs have no helpers to read kernel memory
 * (kernel: kernel/bpf/helpers.c, bpf_base_func_proto).
 */
function isLockedDown(error: BpfError, lockdown: string | undefined): boolean {
  return lacksReads(error) && (lockdown === undefined || lockdown.includes('[confidentiality]'));
}

/** Returns whether the verifier rejected a call to a helper that reads kernel memory. */
function lacksReads({ message, verifier }: BpfError): boolean {
  return READ_HELPERS.test([message, ...verifier].join('\n'));
}

/** Returns whether the verifier rejected what it allows with CAP_PERFMON, such as arithmetic with pointers. */
function isRestricted({ message, verifier }: BpfError): boolean {
  return PROHIBITED.test([message, ...verifier].join('\n'));
}

/**
 * Without CAP_PERFMON, some types of programs can be loaded, but the helpers that read kernel memory are not available.
 */
function missingForReads(): string {
  if (missingCapabilities(['CAP_SYS_ADMIN']).length === 0) return '';
  return describeMissing(missingCapabilities(['CAP_PERFMON']));
}

const LOCKDOWN = '/sys/kernel/security/lockdown';
const CONFIDENTIALITY =
  'BPF programs cannot read kernel memory because the kernel is locked down (lockdown=confidentiality); boot with lockdown=integrity';
const PROHIBITED = /prohibited for !root|pointer comparison prohibited|leaks addr/;
const READ_HELPERS = /(cannot use helper|unknown func) bpf_probe_read/;

/**
 * CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON, which were added in 5.8. Before 5.11, the memory of maps counts
 * towards the limit on locked memory (man 2 getrlimit).
 */
function whyNotPermitted({ log }: BpfError): string {
  if (missingCapabilities(['CAP_SYS_ADMIN']).length > 0) {
    const missing = describeMissing(missingCapabilities(['CAP_BPF', 'CAP_PERFMON']));
    if (missing !== '') return missing;
  }
  const memory = describeMissing(missingCapabilities(['CAP_SYS_RESOURCE']));
  return memory !== '' && /failed to create/.test(log)
    ? `${memory}, which this kernel requires for maps that are larger than \`ulimit -l\``
    : (refusalOf('bpf') ?? 'this kernel does not allow such programs');
}
