import type { Fault } from './faults.ts';

/** What became of the configuration, as `/api/v1/config` shows it. */
export interface ConfigStatus {
  /** File that it comes from; null: there is none, and all defaults hold. */
  readonly file: string | null;
  /** `namespace/name/key` that it comes from, through the Kubernetes API; null: it does not. */
  readonly configMap: string | null;
  /** Number of the configuration in force, counted from the start. */
  readonly generation: number;
  /** The last one that was read was applied. */
  readonly successful: boolean;
  readonly appliedMs: number;
  /** Of the last one that was rejected, also when a later one was applied. */
  readonly rejected: { readonly at: string; readonly faults: readonly Fault[] } | null;
}
