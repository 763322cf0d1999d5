import type { PodName } from './facts.ts';

/**
 * Names of labels to show, each with the source of its value: the key of a Pod's label, or a keyword that starts with
 * `@`.
 */
export type PodLabels = Readonly<Record<string, string>>;

const DERIVED: ReadonlyMap<string, (pod: PodName) => string> = new Map([
  ['@workload', ({ workload }: PodName) => workload.name],
  ['@workload_kind', ({ workload }: PodName) => workload.kind],
]);

export const DERIVED_NAMES: readonly string[] = [...DERIVED.keys()];

/** Maximum length of a value. Kubernetes allows 63 characters in a label and 253 in a name. */
const VALUE_LENGTH_MAX = 253;

/**
 * Returns the values of the shown labels of a Pod, in the order of the configuration. A label that the Pod does not
 * have is empty. For other entities, all labels are empty.
 */
export function labelValues(labels: PodLabels, pod: PodName | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).map(([name, source]) => [name, sourceValue(source, pod).slice(0, VALUE_LENGTH_MAX)]),
  );
}

/** Only own properties are read, because a label may have the name of an inherited property, such as `constructor`. */
function sourceValue(source: string, pod: PodName | undefined): string {
  if (pod === undefined) return '';
  const derived = DERIVED.get(source);
  if (derived !== undefined) return derived(pod);
  return Object.hasOwn(pod.labels, source) ? (pod.labels[source] ?? '') : '';
}
