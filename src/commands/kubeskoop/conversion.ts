import type { Given } from './config.ts';
import type { Notes } from './notes.ts';

type Options = Readonly<Record<string, unknown>>;

/** A section for a probe or a sink, and the paths in KubeSkoop's configuration that it comes from. */
export interface Section {
  readonly name: string;
  readonly options: Options;
  readonly from: readonly Given<unknown>['path'][];
  readonly remark?: string | undefined;
}

export interface Conversion {
  readonly probes: readonly Section[];
  /** Probes that are enabled by default, but are not in KubeSkoop's configuration. The conversion disables them. */
  readonly notAsked: readonly string[];
  readonly sinks: readonly Section[];
  /** Labels. `name` is the name of the label in netsonde, and `value` is the key of the Pod's label. */
  readonly labels: readonly (Given<string> & { readonly name: string })[];
  readonly debug?: Given<boolean> | undefined;
  readonly notes: Notes;
}
