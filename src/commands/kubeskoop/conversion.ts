import type { Given } from './config.ts';
import type { Notes } from './notes.ts';

type Options = Readonly<Record<string, unknown>>;

/** A probe or a sink of ours, and the place in KubeSkoop's configuration that asks for it. */
export interface Section {
  readonly name: string;
  readonly options: Options;
  readonly from: readonly Given<unknown>['path'][];
  readonly remark?: string | undefined;
}

export interface Conversion {
  readonly probes: readonly Section[];
  /** Probes that are on by default here and not asked for: they are switched off. */
  readonly notAsked: readonly string[];
  readonly sinks: readonly Section[];
  /** Key of the Pod's label, by name. */
  readonly labels: readonly (Given<string> & { readonly name: string })[];
  readonly debug?: Given<boolean> | undefined;
  readonly notes: Notes;
}
