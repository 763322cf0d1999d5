import type { Given } from './config.ts';
import type { Notes } from './notes.ts';

type Options = Readonly<Record<string, unknown>>;

/** A probe or a sink of ours, and where KubeSkoop's configuration asks for it. */
export interface Section {
  readonly name: string;
  readonly options: Options;
  readonly from: readonly Given<unknown>['path'][];
  readonly remark?: string | undefined;
}

export interface Conversion {
  readonly probes: readonly Section[];
  /** On by default here and not asked for: they are switched off. */
  readonly notAsked: readonly string[];
  readonly sinks: readonly Section[];
  /** By name the key of a label of the Pod. */
  readonly labels: readonly (Given<string> & { readonly name: string })[];
  readonly debug?: Given<boolean> | undefined;
  readonly notes: Notes;
}
