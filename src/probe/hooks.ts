/** Attaches BPF programs: for each point that a probe observes, its choices of hooks are tried, the best first. */

import { BpfError, type BpfObject } from 'bpf-napi';
import { Unsupported } from '#core/reader.ts';
import type { Btf } from '#sources/bpf/btf.ts';
import { asUnsupported, type BpfSource, type ObjectSpec } from '#sources/bpf/source.ts';

export type HookKind = 'tp_btf' | 'raw_tp' | 'fentry' | 'fexit' | 'kprobe' | 'kretprobe';

/** A place in the kernel, and the program for it. */
export interface Hook<P extends string = string> {
  readonly kind: HookKind;
  /** Name of the tracepoint or of the function. */
  readonly target: string;
  /** Number of arguments that the program reads; the place must have at least as many. */
  readonly arguments: number;
  readonly program: P;
  /** Kernel module of the function, where it may be in one. */
  readonly module?: string;
}

/** Hooks that together observe one point completely, or nearly so. */
export interface HookChoice<P extends string = string> {
  readonly hooks: readonly Hook<P>[];
  /** Gaps of this choice, in words. */
  readonly lacks?: string;
}

/** One thing that a probe observes. */
export interface HookPoint<P extends string = string> {
  /** Description for the operator. */
  readonly what: string;
  /** True where the probe is degraded without this point, not unsupported. */
  readonly optional?: boolean;
  /** Reason why other hooks do not help, in words: for the operator of a kernel that has none of the choices. */
  readonly why?: string;
  /** Choices of hooks, the best first. */
  readonly choices: readonly HookChoice<P>[];
}

/** Points that a probe hooks; its programs `P` are all in one object file. */
export interface HookTable<P extends string = string> {
  readonly file: string;
  readonly points: readonly HookPoint<P>[];
}

/** Status of a point. */
export interface HookStatus {
  readonly what: string;
  /** Hook of the point, as `tp_btf/kfree_skb`; empty where there is none. */
  readonly hooks: readonly string[];
  /** Why there is no hook, or what the chosen ones do not see; empty where nothing is missing. */
  readonly reason: string;
}

export function hookName({ kind, target }: Hook): string {
  return `${kind}/${target}`;
}

/** Returns the kind of a section: `tp_btf` of `tp_btf/kfree_skb`. */
export function hookKind(name: string): string {
  return name.replace(/\/.*$/, '');
}

/** Makes a hook: `hook('tp_btf/kfree_skb', 4, 'packet_drop_socket')`. */
export function hook<const P extends string>(
  section: `${HookKind}/${string}`,
  args: number,
  program: P,
  module?: string,
): Hook<P> {
  const [kind = '', target = ''] = section.split('/');
  return { kind: kind as HookKind, target, arguments: args, program, ...(module === undefined ? {} : { module }) };
}

/** Returns why the kernel's types rule a hook out; undefined where they do not. */
function missing(bpf: BpfSource, hook: Hook): string | undefined {
  const isTracepoint = hook.kind === 'tp_btf' || hook.kind === 'raw_tp';
  const what = isTracepoint ? `tracepoint ${hook.target}` : `function ${hook.target}`;
  const parameters = (btf: Btf | undefined) =>
    isTracepoint ? btf?.tracepointArguments(hook.target) : btf?.functionParameters(hook.target);
  const has = parameters(bpf.btf()) ?? (hook.module === undefined ? undefined : parameters(bpf.moduleBtf(hook.module)));
  // The kernel shows the types of modules since 5.11. A kprobe needs none: an attempt shows whether the function exists.
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

/** Progress of one point through its choices. */
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

/** Running programs, and the status of each point. */
export interface OpenHooks {
  readonly object: BpfObject;
  readonly programs: readonly string[];
  readonly statuses: readonly HookStatus[];
}

/** A required point has no hook on this kernel. */
export class HooksMissing extends Unsupported {
  readonly statuses: readonly HookStatus[];

  constructor(statuses: readonly HookStatus[], gone: HookStatus) {
    super(`${gone.what}: ${gone.reason}`);
    this.statuses = statuses;
  }
}

/**
 * Loads and attaches the best hooks that this kernel allows. Its types say which are worth trying; these are loaded together. Only where
 * the kernel refuses them is each point tried alone, in an instance of its own: one refused program fails its whole instance. The caller
 * closes the object.
 * @throws {HooksMissing} where a point that is not optional has no hook
 * @throws {Unsupported} where no choice of hooks can help, {BpfError} for transient errors
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
    if (running.length === 0)
      throw new Unsupported(statuses.map(({ what, reason }) => `${what}: ${reason}`).join('; '));
    const programs = programsOf(running);
    try {
      return { object: await start(bpf, { ...spec, programs }), programs, statuses };
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (!(await refuseTried(bpf, spec, running, error as Error))) throw error;
    }
  }
}

function programsOf(candidates: readonly Candidate[]): string[] {
  return [...new Set(candidates.flatMap(({ choice }) => choice?.hooks.map(({ program }) => program) ?? []))];
}

async function start(bpf: BpfSource, spec: ObjectSpec): Promise<BpfObject> {
  const object = await bpf.load(spec);
  try {
    for (const program of spec.programs) await object.attach(program);
    return object;
  } catch (error) {
    object.close();
    throw asUnsupported(error);
  }
}

/** Returns whether the kernel will refuse these programs at these places again; others may work. */
function isRefusal(error: unknown): boolean {
  if (error instanceof BpfError)
    return (error.code === 'BPF_ATTACH' || error.code === 'BPF_LOAD') && !PASSING.has(error.errno);
  return error instanceof Unsupported && error.cause instanceof BpfError;
}

/** Tries each candidate alone, and advances those that are refused. Returns false where none is. */
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
    (await start(bpf, { ...spec, programs: programsOf([candidate]) })).close();
    return undefined;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return error as Error;
  }
}

/**
 * Remembers refused kinds of programs. A kernel that allows no fentry programs at all answers EPERM with an empty log to each of them, and
 * to fexit too. Tracepoints that were loaded with them are not the cause: a kernel with BTF allows those.
 */
function noteKind(bpf: BpfSource, { hooks }: HookChoice, error: Error): void {
  const cause = error.cause instanceof BpfError ? error.cause : error;
  const kinds = new Set(hooks.map(({ kind }) => kind));
  for (const kind of ['tp_btf', 'raw_tp'] as const) kinds.delete(kind);
  const isOneWay = [...kinds].every((kind) => kind.startsWith('f')) || kinds.size === 1;
  if (!isOneWay || !(cause instanceof BpfError) || cause.errno !== EPERM || cause.verifier.length > 0) return;
  for (const kind of kinds) {
    bpf.refusedKinds.set(kind, `${kind} programs are refused: not allowed by this kernel, or no right to load them`);
  }
}

/** Finds out what the points of a table would hook on this kernel, by attaching them for a moment. */
export async function surveyHooks(bpf: BpfSource, table: HookTable): Promise<readonly HookStatus[]> {
  try {
    const { object, statuses } = await openHooks(bpf, table, { file: table.file });
    object.close();
    return statuses;
  } catch (error) {
    if (error instanceof HooksMissing) {
      if (table.points.length === 1) return error.statuses;
      // The other points were not tried, and the kernel may refuse them as well.
      const statuses: HookStatus[] = [];
      for (const point of table.points) {
        statuses.push(...(await surveyHooks(bpf, { ...table, points: [{ ...point, optional: false }] })));
      }
      return statuses;
    }
    return table.points.map(({ what }) => ({ what, hooks: [], reason: (error as Error).message }));
  }
}
