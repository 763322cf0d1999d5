import type { Labels } from '#core/selector.ts';
import { type Answer, every, Unknown } from './answer.ts';

/** The labels of an object that are known. */
export interface KnownLabels {
  readonly values: Labels;
  /** Whether it is certain that the object has no other labels. */
  readonly isComplete: boolean;
}

export const NO_KNOWN_LABELS: KnownLabels = { values: {}, isComplete: false };

/** Label with the name of a Namespace, which the API server adds to each Namespace (since Kubernetes 1.22). */
const NAMESPACE_NAME = 'kubernetes.io/metadata.name';

/**
 * Returns the known labels of a namespace.
 * @param labels labels of the Namespace object; undefined if unknown
 */
export function namespaceLabels(name: string, labels: Labels | undefined): KnownLabels {
  return { values: { ...labels, [NAMESPACE_NAME]: name }, isComplete: labels !== undefined };
}

export const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;

export interface Requirement {
  readonly key: string;
  readonly operator: (typeof OPERATORS)[number];
  readonly values: readonly string[];
}

/**
 * A label selector of the API. An object has to meet all of its requirements. A selector without requirements selects
 * everything (apimachinery, pkg/apis/meta/v1/types.go).
 */
export interface LabelSelector {
  readonly requirements: readonly Requirement[];
  /**
   * Reason why this version cannot evaluate the selector; undefined if it can. An unknown part may widen or narrow the
   * selection, so the other parts do not determine the result.
   */
  readonly doubt: string | undefined;
}

export const EVERYTHING: LabelSelector = { requirements: [], doubt: undefined };

/**
 * Whether a selector selects an object with these labels.
 * @param owner name of the object, used in the reason for an unknown answer
 */
export function selects({ requirements, doubt }: LabelSelector, labels: KnownLabels, owner: string): Answer {
  if (doubt !== undefined) return new Unknown(doubt);
  return every(requirements, (requirement) => isMet(requirement, labels, owner));
}

/**
 * Whether labels meet a requirement. NotIn and DoesNotExist are also met if the key is missing (apimachinery,
 * pkg/labels/selector.go).
 */
function isMet({ key, operator, values }: Requirement, labels: KnownLabels, owner: string): Answer {
  const value = Object.hasOwn(labels.values, key) ? labels.values[key] : undefined;
  if (value === undefined && !labels.isComplete) return new Unknown(`label ${key} of ${owner}`);
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}
