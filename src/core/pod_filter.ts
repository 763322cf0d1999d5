import type { NetnsId } from './netns.ts';

/** Filter for Pods. A Pod must match all fields. An empty filter matches all Pods, but not the node. */
export interface PodFilter {
  readonly namespaces?: readonly string[] | undefined;
  /** Label selector in the syntax of Kubernetes. */
  readonly selector?: string | undefined;
  /** Patterns for Pod names, in which `*` matches any characters and `?` matches exactly one. */
  readonly names?: readonly string[] | undefined;
}

/** Receives the network namespaces of the Pods that match a filter, and the changes as Pods start and stop. */
export interface PodFilterTarget {
  add(id: NetnsId): void;
  remove(id: NetnsId): void;
}

/** A filter whose matches are kept up to date until it is disposed. */
export interface FollowedPodFilter extends Disposable {
  isIncluded(id: NetnsId): boolean;
}

/** Finds the network namespaces of the Pods that match a filter. */
export interface PodFilters {
  /**
   * Calls `target` immediately for each matching namespace, and then for each change until the returned filter is
   * disposed.
   */
  follow(filter: PodFilter, target: PodFilterTarget): FollowedPodFilter;
}
