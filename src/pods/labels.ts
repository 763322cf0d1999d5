import type { PodName } from './facts.ts';

/** Label names, each with where its value comes from: the key of a Pod's label, or a word with `@`. */
export type PodLabels = Readonly<Record<string, string>>;

const DERIVED: Readonly<Record<string, (pod: PodName) => string>> = {
  '@workload': ({ workload }) => workload.name,
  '@workload_kind': ({ workload }) => workload.kind,
};

export const DERIVED_NAMES: readonly string[] = Object.keys(DERIVED);

/** Kubernetes allows 63 characters in a label, and 253 in a name. */
const VALUE_LENGTH_MAX = 253;

/** The values for a Pod, in the order of the configuration; empty where it has none, and for who is no Pod that we know. */
export function labelValues(labels: PodLabels, pod: PodName | undefined): Record<string, string> {
  const values: Record<string, string> = {};
  for (const [name, source] of Object.entries(labels)) {
    const value = pod === undefined ? '' : (DERIVED[source]?.(pod) ?? pod.labels[source] ?? '');
    values[name] = value.slice(0, VALUE_LENGTH_MAX);
  }
  return values;
}
