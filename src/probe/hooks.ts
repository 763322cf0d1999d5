/** Attaches BPF programs: for each thing that a probe wants to see, the hooks are tried best first. */

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
  /** The program reads so many arguments; the place must have at least these. */
  readonly arguments: number;
  readonly program: P;
  /** Kernel module that the function is in, where it may be in one. */
  readonly module?: string;
}

/** Hooks that together see one thing whole, or nearly. */
export interface HookChoice<P extends string = string> {
  readonly hooks: readonly Hook<P>[];
  /** What is not seen this way, in words. */
  readonly lacks?: string;
}

/** One thing that a probe wants to see. */
export interface HookPoint<P extends string = string> {
  /** In words, for the operator. */
  readonly what: string;
  /** Without it the probe is degraded, not unsupported. */
  readonly optional?: boolean;
  /** What makes other hooks useless, in words: for the operator of a kernel that has none of the choices. */
  readonly why?: string;
  /** The best first. */
  readonly choices: readonly HookChoice<P>[];
}

/** What a probe hooks; its programs `P` are all in one object file. */
export interface HookTable<P extends string = string> {
  readonly file: string;
  readonly points: readonly HookPoint<P>[];
}

/** What became of a point. */
export interface HookStatus {
  readonly what: string;
  /** `tp_btf/kfree_skb`; empty where there is none. */
  readonly hooks: readonly string[];
  /** Why there is none, or what the chosen ones do not see; empty where all is well. */
  readonly reason: string;
}

export function hookName({ kind, target }: Hook): string {
  return `${kind}/${target}`;
}

/** `tp_btf` of `tp_btf/kfree_skb` */
export function hookKind(name: string): string {
  return name.replace(/\/.*$/, '');
}

/** `hook('tp_btf/kfree_skb', 4, 'packet_drop_socket')` */
export function hook<const P extends string>(
  section: `${HookKind}/${string}`,
  args: number,
  program: P,
  module?: string,
): Hook<P> {
  const [kind = '', target = ''] = section.split('/');
  return { kind: kind as HookKind, target, arguments: args, program, ...(module === undefined ? {} : { module }) };
}

/** Why the kernel's types rule a hook out; undefined where they do not. */
function missing(bpf: BpfSource, hook: Hook): string | undefined {
  const isTracepoint = hook.kind === 'tp_btf' || hook.kind === 'raw_tp';
  const what = isTracepoint ? `tracepoint ${hook.target}` : `function ${hook.target}`;
  const parameters = (btf: Btf | undefined) =>
    isTracepoint ? btf?.tracepointArguments(hook.target) : btf?.functionParameters(hook.target);
  const has = parameters(bpf.btf()) ?? (hook.module === undefined ? undefined : parameters(bpf.moduleBtf(hook.module)));
  // The types of modules are shown since 5.11. A kprobe needs none: whether the function is there, its trial will tell.
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
/** EINTR, EAGAIN, ENOMEM, ENFILE, EMFILE: not the kernel's last word. */
const PASSING = new Set([4, 11, 12, 23, 24]);

/** The way of one point through its choices. */
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

/** Programs that run, and what became of each point. */
export interface OpenHooks {
  readonly object: BpfObject;
  readonly programs: readonly string[];
  readonly statuses: readonly HookStatus[];
}

/** A point without which there is no probe has no hook here. */
export class HooksMissing extends Unsupported {
  readonly statuses: readonly HookStatus[];

  constructor(statuses: readonly HookStatus[], gone: HookStatus) {
    super(`${gone.what}: ${gone.reason}`);
    this.statuses = statuses;
  }
}

/**
 * Loads and attaches the best hooks that this kernel allows. Its types say which are worth trying; those are loaded in one
 * go. Only where the kernel refuses that is each point tried alone, in an instance of its own: one program that is refused
 * fails its whole instance. The caller closes the object.
 * @throws {HooksMissing} where a point that is not optional has no hook
 * @throws {Unsupported} for what no choice of hooks can mend, {BpfError} for what may pass
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

/** The kernel will say no again to these programs at these places; others may do. */
function isRefusal(error: unknown): boolean {
  if (error instanceof BpfError)
    return (error.code === 'BPF_ATTACH' || error.code === 'BPF_LOAD') && !PASSING.has(error.errno);
  return error instanceof Unsupported && error.cause instanceof BpfError;
}

/** Tries each candidate alone, and moves on those that are refused; false where none is. */
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
 * A kernel that allows no fentry programs at all says EPERM, and nothing in its log, to the first as to the tenth, and to
 * fexit too. Tracepoints beside them are not what it refuses: a kernel with BTF allows those.
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

/** What the points of a table would hook on this kernel: found out by doing it, for a moment. */
export async function surveyHooks(bpf: BpfSource, table: HookTable): Promise<readonly HookStatus[]> {
  try {
    const { object, statuses } = await openHooks(bpf, table, { file: table.file });
    object.close();
    return statuses;
  } catch (error) {
    if (error instanceof HooksMissing) {
      if (table.points.length === 1) return error.statuses;
      // The others were not tried, and the kernel may refuse them as well.
      const statuses: HookStatus[] = [];
      for (const point of table.points) {
        statuses.push(...(await surveyHooks(bpf, { ...table, points: [{ ...point, optional: false }] })));
      }
      return statuses;
    }
    return table.points.map(({ what }) => ({ what, hooks: [], reason: (error as Error).message }));
  }
}
