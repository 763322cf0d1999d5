/**
 * Attaches BPF programs. For each point that a probe observes, there is a list of alternative hooks, which are tried in
 * order of preference.
 */

import { BpfError, type BpfObject } from 'bpf-napi';
import { Unsupported } from '#core/reader.ts';
import type { Btf } from '#sources/bpf/btf.ts';
import { asUnsupported, type BpfSource, type ObjectSpec } from '#sources/bpf/source.ts';

export type HookKind = 'tp_btf' | 'raw_tp' | 'fentry' | 'fexit' | 'kprobe' | 'kretprobe' | typeof CGROUP_SKB;

/** Kind of programs that process the packets of sockets. They are attached to the root cgroup. */
export const CGROUP_SKB = 'cgroup_skb';

/** A location in the kernel, and the program to attach to it. */
export interface Hook<P extends string = string> {
  readonly kind: HookKind;
  /** Name of the tracepoint or function, or direction of the packets. */
  readonly target: string;
  /** Number of arguments that the program reads. The tracepoint or function must have at least this many. */
  readonly arguments: number;
  readonly program: P;
  /** Kernel module that may contain the function. */
  readonly module?: string;
}

/** Hooks that together observe a point completely or almost completely. */
export interface HookChoice<P extends string = string> {
  readonly hooks: readonly Hook<P>[];
  /** Description of what this choice does not observe. */
  readonly lacks?: string;
}

/** Something that a probe observes in the kernel, by means of one of several choices of hooks. */
export interface HookPoint<P extends string = string> {
  /** Name of the point for operators. */
  readonly what: string;
  /** Whether the probe is only degraded, rather than unsupported, without this point. */
  readonly optional?: boolean;
  /** Explanation for operators whose kernel supports none of the choices: why there is no alternative. */
  readonly why?: string;
  /** Choices of hooks in order of preference. */
  readonly choices: readonly HookChoice<P>[];
}

/** Points that a probe observes. All programs are in one object file. */
export interface HookTable<P extends string = string> {
  readonly file: string;
  readonly points: readonly HookPoint<P>[];
  /** Programs that are run from user space. They are loaded together with all other programs, but not attached. */
  readonly calls?: readonly P[];
  /** Programs that the probe attaches later, when needed. They are loaded together with all other programs. */
  readonly later?: readonly P[];
}

/** Attachment status of a point. */
export interface HookStatus {
  readonly what: string;
  /** Attached hooks, for example `tp_btf/kfree_skb`; empty if nothing is attached. */
  readonly hooks: readonly string[];
  /** Reason why nothing is attached, or description of what the attached hooks do not observe; otherwise empty. */
  readonly reason: string;
}

export function hookName({ kind, target }: Hook): string {
  return `${kind}/${target}`;
}

/** Returns the kind from a section name: `tp_btf` from `tp_btf/kfree_skb`. */
export function hookKind(name: string): string {
  return name.replace(/\/.*$/, '');
}

/** Creates a hook from a section name: `hook('tp_btf/kfree_skb', 4, 'packet_drop_socket')`. */
export function hook<const P extends string>(
  section: `${HookKind}/${string}`,
  args: number,
  program: P,
  module?: string,
): Hook<P> {
  const [kind = '', target = ''] = section.split('/');
  return { kind: kind as HookKind, target, arguments: args, program, ...(module === undefined ? {} : { module }) };
}

/** Returns the reason why the kernel's BTF rules out a hook; undefined if it does not. */
function missing(bpf: BpfSource, hook: Hook): string | undefined {
  if (hook.kind === CGROUP_SKB) return refusedKind(bpf, hook);
  const isTracepoint = hook.kind === 'tp_btf' || hook.kind === 'raw_tp';
  const what = isTracepoint ? `tracepoint ${hook.target}` : `function ${hook.target}`;
  const parameters = (btf: Btf | undefined) =>
    isTracepoint ? btf?.tracepointArguments(hook.target) : btf?.functionParameters(hook.target);
  const has = parameters(bpf.btf()) ?? (hook.module === undefined ? undefined : parameters(bpf.moduleBtf(hook.module)));
  // The kernel exposes the BTF of modules since 5.11. A kprobe does not need BTF, so attaching it reveals whether the
  // function exists.
  if (has === undefined && hook.kind.endsWith('probe') && hook.module !== undefined && bpf.lacksTypes(hook.module))
    return refusedKind(bpf, hook);
  if (has === undefined) return `this kernel has no ${what}`;
  if (has < hook.arguments) return `the ${what} of this kernel has ${has} arguments, not ${hook.arguments}`;
  return refusedKind(bpf, hook);
}

function refusedKind(bpf: BpfSource, { kind }: Hook): string | undefined {
  if (kind.endsWith('probe') && !bpf.hasKprobes()) return 'this kernel has no kprobes';
  return bpf.refusedKinds.get(kind);
}

const EPERM = 1;
/** Transient errors: EINTR, EAGAIN, ENOMEM, ENFILE, EMFILE. */
const PASSING = new Set([4, 11, 12, 23, 24]);

/** A point and the choice of hooks that is currently being tried. */
class Candidate {
  readonly point: HookPoint;
  readonly #bpf: BpfSource;
  readonly #refusals: string[] = [];
  #index = 0;

  constructor(bpf: BpfSource, point: HookPoint) {
    this.#bpf = bpf;
    this.point = point;
    this.#skip();
  }

  get choice(): HookChoice | undefined {
    return this.point.choices[this.#index];
  }

  get status(): HookStatus {
    const { what, why } = this.point;
    if (this.choice === undefined) {
      return {
        what,
        hooks: [],
        reason: [...new Set([...this.#refusals, ...(why === undefined ? [] : [why])])].join('; '),
      };
    }
    return { what, hooks: this.choice.hooks.map(hookName), reason: this.choice.lacks ?? '' };
  }

  refuse(reason: string): void {
    this.#refusals.push(reason);
    this.#index++;
    this.#skip();
  }

  #skip(): void {
    for (; this.choice !== undefined; this.#index++) {
      const reason = this.choice.hooks.map((hook) => missing(this.#bpf, hook)).find((found) => found !== undefined);
      if (reason === undefined) return;
      this.#refusals.push(reason);
    }
  }
}

/** Attached programs, and the status of each point. */
export interface OpenHooks {
  readonly object: BpfObject;
  /** Names of the attached programs and of those that the probe attaches later. */
  readonly programs: readonly string[];
  readonly statuses: readonly HookStatus[];
}

/** Thrown if a required point has no hook on this kernel. */
export class HooksMissing extends Unsupported {
  readonly statuses: readonly HookStatus[];

  constructor(statuses: readonly HookStatus[], gone: HookStatus) {
    super(`${gone.what}: ${gone.reason}`);
    this.statuses = statuses;
  }
}

/**
 * Loads and attaches, for each point, the most preferred hooks that this kernel supports. Choices that the kernel's BTF
 * rules out are skipped, and the programs of the remaining choices are loaded together. If the kernel refuses one
 * program, the whole load fails. Each point is then tried separately to find the refused programs. The caller closes
 * the object.
 * @throws {HooksMissing} if a required point has no hook
 * @throws {Unsupported} if no choice of hooks can help
 * @throws {BpfError} for transient errors
 */
export async function openHooks(
  bpf: BpfSource,
  table: HookTable,
  spec: Omit<ObjectSpec, 'programs'>,
): Promise<OpenHooks> {
  const candidates = table.points.map((point) => new Candidate(bpf, point));
  for (;;) {
    const statuses = candidates.map(({ status }) => status);
    const gone = candidates.find(({ point, choice }) => choice === undefined && point.optional !== true);
    if (gone !== undefined) throw new HooksMissing(statuses, gone.status);
    const running = candidates.filter(({ choice }) => choice !== undefined);
    refuseNothing(table, running, statuses);
    const hooks = hooksOf(running);
    const programs = [...hooks.map(({ program }) => program), ...(table.later ?? [])];
    try {
      return {
        object: await start(bpf, { ...spec, programs: [...programs, ...(table.calls ?? [])] }, hooks),
        programs,
        statuses,
      };
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (!(await refuseTried(bpf, spec, running, error as Error))) throw error;
    }
  }
}

/** @throws {Unsupported} if there is neither a hook nor a program that the probe attaches later */
function refuseNothing(table: HookTable, running: readonly Candidate[], statuses: readonly HookStatus[]): void {
  if (running.length === 0 && table.later === undefined)
    throw new Unsupported(statuses.map(({ what, reason }) => `${what}: ${reason}`).join('; '));
}

/** Returns the chosen hooks, one for each program. */
function hooksOf(candidates: readonly Candidate[]): Hook[] {
  const hooks = candidates.flatMap(({ choice }) => choice?.hooks ?? []);
  return [...new Map(hooks.map((each) => [each.program, each])).values()];
}

/** Loads an object, and attaches the programs of the hooks. */
async function start(bpf: BpfSource, spec: ObjectSpec, hooks: readonly Hook[]): Promise<BpfObject> {
  const object = await bpf.load(spec);
  try {
    for (const { kind, program } of hooks) {
      await (kind === CGROUP_SKB ? object.attachCgroup(program, bpf.cgroupRoot()) : object.attach(program));
    }
    return object;
  } catch (error) {
    object.close();
    throw asUnsupported(error);
  }
}

/** Returns whether the kernel refused these programs for a permanent reason, so that only other hooks may work. */
function isRefusal(error: unknown): boolean {
  if (error instanceof BpfError)
    return (error.code === 'BPF_ATTACH' || error.code === 'BPF_LOAD') && !PASSING.has(error.errno);
  return error instanceof Unsupported && error.cause instanceof BpfError;
}

/**
 * Tries each candidate separately, and selects the next choice for each refused one. Returns false if none was refused.
 */
async function refuseTried(
  bpf: BpfSource,
  spec: Omit<ObjectSpec, 'programs'>,
  candidates: readonly Candidate[],
  together: Error,
): Promise<boolean> {
  let refused = false;
  for (const candidate of candidates) {
    const { choice } = candidate;
    if (choice === undefined) continue;
    const error = candidates.length === 1 ? together : await tryAlone(bpf, spec, candidate);
    if (error === undefined) continue;
    refused = true;
    noteKind(bpf, choice, error);
    candidate.refuse(`${choice.hooks.map(hookName).join(', ')}: ${error.message}`);
  }
  return refused;
}

async function tryAlone(
  bpf: BpfSource,
  spec: Omit<ObjectSpec, 'programs'>,
  candidate: Candidate,
): Promise<Error | undefined> {
  try {
    const hooks = hooksOf([candidate]);
    (await start(bpf, { ...spec, programs: hooks.map(({ program }) => program) }, hooks)).close();
    return undefined;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return error as Error;
  }
}

/**
 * Records kinds of programs that the kernel refuses. A kernel without support for fentry rejects every fentry and fexit
 * program with EPERM and an empty log. Tracepoint programs that were loaded together with them cannot be the cause,
 * because a kernel with BTF supports them.
 */
function noteKind(bpf: BpfSource, { hooks }: HookChoice, error: Error): void {
  const cause = error.cause instanceof BpfError ? error.cause : error;
  const kinds = new Set(hooks.map(({ kind }) => kind));
  // Programs of these kinds are never refused as a kind. A cgroup may refuse one because of another attached program,
  // which may be detached later.
  for (const kind of ['tp_btf', 'raw_tp', CGROUP_SKB] as const) kinds.delete(kind);
  const isOneWay = [...kinds].every((kind) => kind.startsWith('f')) || kinds.size === 1;
  if (!isOneWay || !(cause instanceof BpfError) || cause.errno !== EPERM || cause.verifier.length > 0) return;
  for (const kind of kinds) {
    bpf.refusedKinds.set(
      kind,
      `the kernel refuses ${kind} programs: it does not support them, or the agent lacks the privilege to load them`,
    );
  }
}

/** Determines which hooks the points of a table can use on this kernel. Attaches them briefly. */
export async function surveyHooks(bpf: BpfSource, table: HookTable): Promise<readonly HookStatus[]> {
  try {
    const { object, statuses } = await openHooks(bpf, table, { file: table.file });
    object.close();
    return statuses;
  } catch (error) {
    if (error instanceof HooksMissing) {
      if (table.points.length === 1) return error.statuses;
      // The other points were not tried yet, and may be refused as well.
      const statuses: HookStatus[] = [];
      for (const point of table.points) {
        statuses.push(...(await surveyHooks(bpf, { ...table, points: [{ ...point, optional: false }] })));
      }
      return statuses;
    }
    return table.points.map(({ what }) => ({ what, hooks: [], reason: (error as Error).message }));
  }
}
