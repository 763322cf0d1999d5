import type { PodName } from './facts.ts';

/** Label names, each with the source of its value: the key of a Pod's label, or a word with `@`. */
export type PodLabels = Readonly<Record<string, string>>;

const DERIVED: ReadonlyMap<string, (pod: PodName) => string> = new Map([
  ['@workload', ({ workload }: PodName) => workload.name],
  ['@workload_kind', ({ workload }: PodName) => workload.kind],
]);

export const DERIVED_NAMES: readonly string[] = [...DERIVED.keys()];

/** Kubernetes allows 63 characters in the value of a label, and 253 in a name. */
const VALUE_LENGTH_MAX = 253;

/** Returns the values for a Pod, in the order of the configuration; empty where it has none, and for entities that are not known Pods. */
export function labelValues(labels: PodLabels, pod: PodName | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).map(([name, source]) => [name, sourceValue(source, pod).slice(0, VALUE_LENGTH_MAX)]),
  );
}

/** A label may have the name of a property that every object has: `constructor`. */
function sourceValue(source: string, pod: PodName | undefined): string {
  if (pod === undefined) return '';
  const derived = DERIVED.get(source);
  if (derived !== undefined) return derived(pod);
  return Object.hasOwn(pod.labels, source) ? (pod.labels[source] ?? '') : '';
}
