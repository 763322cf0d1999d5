import type { PodName } from '#pods/facts.ts';

/** A Service and the labels by which it selects Pods. */
export interface Selecting {
  readonly namespace: string;
  readonly name: string;
  /**
   * Labels that a Pod must have to be selected. Undefined if the Service selects no Pods, or if its selector is too
   * long.
   */
  readonly selector?: Readonly<Record<string, string>> | undefined;
}

/** Maximum number of Services to keep. Kubernetes is tested with 10,000 Services per cluster. */
const SERVICES_MAX = 10_000;

/** Finds the Services that select a Pod. */
export class Selectors {
  readonly #max: number;
  /** Services by namespace and UID. */
  readonly #services = new Map<string, Map<string, Selecting>>();
  readonly #namespaces = new Map<string, string>();
  readonly #leftOut = new Set<string>();

  constructor(max = SERVICES_MAX) {
    this.#max = max;
  }

  /** Number of Services that were not kept because of the limit. */
  get leftOut(): number {
    return this.#leftOut.size;
  }

  set(uid: string, { namespace, name, selector }: Selecting): void {
    this.delete(uid);
    if (selector === undefined) return;
    if (this.#namespaces.size >= this.#max) {
      this.#leftOut.add(uid);
      return;
    }
    this.#namespaces.set(uid, namespace);
    const services = this.#services.get(namespace) ?? new Map<string, Selecting>();
    this.#services.set(namespace, services.set(uid, { namespace, name, selector }));
  }

  delete(uid: string): void {
    this.#leftOut.delete(uid);
    const namespace = this.#namespaces.get(uid);
    if (namespace === undefined) return;
    this.#namespaces.delete(uid);
    const services = this.#services.get(namespace);
    services?.delete(uid);
    if (services?.size === 0) this.#services.delete(namespace);
  }

  /** Returns the names of the Services that select the Pod. A Service selects only Pods of its own namespace. */
  of({ namespace, labels }: Pick<PodName, 'namespace' | 'labels'>): readonly string[] {
    const services = [...(this.#services.get(namespace)?.values() ?? [])];
    const isMatch = ({ selector = {} }: Selecting) =>
      Object.entries(selector).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);
    return services.filter(isMatch).map(({ name }) => name);
  }
}
