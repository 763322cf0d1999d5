import type { NetnsId } from './netns.ts';

/** Filter of Pods. A Pod has to match all fields. An empty filter matches all Pods, but not the node. */
export interface PodFilter {
  readonly namespaces?: readonly string[] | undefined;
  /** Label selector in the syntax of Kubernetes. */
  readonly selector?: string | undefined;
  /** Globs of Pod names: `*` matches any characters, `?` exactly one. */
  readonly names?: readonly string[] | undefined;
}

/** Receives the network namespaces of the Pods that match a filter, as Pods start and end. */
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
  /** Calls `target` at once for each matching namespace, and then for each change until disposed. */
  follow(filter: PodFilter, target: PodFilterTarget): FollowedPodFilter;
}
