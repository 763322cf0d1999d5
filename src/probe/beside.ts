import type { ObjectLayout } from '#bpf/layout.ts';
import type { BpfSource, ObjectSpec } from '#sources/bpf/source.ts';
import { EbpfInstance } from './ebpf.ts';
import { type HookTable, openHooks } from './hooks.ts';
import type { Tally } from './tally.ts';

export interface BesideOptions<L extends ObjectLayout> extends Omit<ObjectSpec<L>, 'file' | 'programs' | 'without'> {
  readonly hooks: HookTable<L['program']>;
  /** Maps of the first object that the programs use instead of their own, if they exist. */
  readonly same: readonly L['map'][];
  /** Constants and settings that have the same values as in the first object. */
  readonly sameConstants: readonly (L['constant'] | L['setting'])[];
}

/** Nothing is counted in the object's own maps. */
const NOTHING: Tally = {
  map: '',
  uncounted: () => ({}),
  sweep: () => new Map(),
  freed: () => undefined,
  remember: () => undefined,
};

/**
 * Loads and attaches a further object of a probe, which counts in the maps of the first one. The caller closes the
 * object before the first one.
 * @throws {Unsupported}
 */
export async function openBeside<L extends ObjectLayout>(
  bpf: BpfSource,
  proc: string,
  first: EbpfInstance,
  { hooks, same, sameConstants, shared = {}, constants = {}, ...spec }: BesideOptions<L>,
): Promise<EbpfInstance> {
  const maps = Object.fromEntries(
    same.filter((name) => !first.without.includes(name)).map((name) => [name, first.object.map(name)]),
  );
  const values = Object.fromEntries(sameConstants.map((name) => [name, first.constants[name]]));
  const others = { ...shared, ...maps };
  const open = await openHooks(bpf, hooks, {
    ...spec,
    file: hooks.file,
    shared: others,
    constants: { ...values, ...constants },
    without: first.without.filter((name) => (same as readonly string[]).includes(name)),
  } as Omit<ObjectSpec, 'programs'>);
  return new EbpfInstance(open, { proc, tally: NOTHING, spec: { shared: others } });
}
