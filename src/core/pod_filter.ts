import type { NetnsId } from './netns.ts';

/** Filter of Pods: a Pod must match all of its parts. An empty filter matches all Pods, but not the node. */
export interface PodFilter {
  readonly namespaces?: readonly string[] | undefined;
  /** Label selector, in the syntax of Kubernetes. */
  readonly selector?: string | undefined;
  /** Globs of Pod names: `*` matches any characters, `?` exactly one. */
  readonly names?: readonly string[] | undefined;
}

/** Receives the network namespaces of the Pods that match a filter, as they come and go. */
export interface PodFilterTarget {
  add(id: NetnsId): void;
  remove(id: NetnsId): void;
}

/** A pod filter that is being followed. */
export interface FollowedPodFilter extends Disposable {
  isIncluded(id: NetnsId): boolean;
}

/** Tells probes the network namespaces of the Pods that match their filters. */
export interface PodFilters {
  /** Calls `target` at once for all matching namespaces, and for each change until disposed. */
  follow(filter: PodFilter, target: PodFilterTarget): FollowedPodFilter;
}
