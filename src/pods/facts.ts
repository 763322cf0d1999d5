import type { Labels } from '#core/selector.ts';

/** What a Pod is called, as Kubernetes has it. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  /** All of them, not only those that are configured to be shown. */
  readonly labels: Labels;
}

/** Where Kubernetes is asked for Pods. */
export interface PodFinder {
  /** @returns undefined for a UID that is not known, or not yet */
  find(uid: string): PodFacts | undefined;
}
