import type { NetnsId } from './netns.ts';

/** Which Pods are meant: those that all of this is true of. Without anything all Pods, but not the node. */
export interface PodFilter {
  readonly namespaces?: readonly string[] | undefined;
  /** Of labels, in the syntax of Kubernetes. */
  readonly selector?: string | undefined;
  /** Globs: `*` is any letters, `?` any one. */
  readonly names?: readonly string[] | undefined;
}

/** Takes the network namespaces of the Pods that an aim means, as they come and go. */
export interface PodFilterTarget {
  add(id: NetnsId): void;
  remove(id: NetnsId): void;
}

/** An aim that is followed. */
export interface FollowedPodFilter extends Disposable {
  isAimed(id: NetnsId): boolean;
}

/** Tells probes the network namespaces of the Pods that they are to look at. */
export interface PodFilters {
  /** Calls `target` at once for what is there, and for each change until disposed. */
  follow(aim: PodFilter, target: PodFilterTarget): FollowedPodFilter;
}
