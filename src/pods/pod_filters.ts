import { isHostPodId, type NetnsId } from '#core/netns.ts';
import type { FollowedPodFilter, PodFilter, PodFilters, PodFilterTarget } from '#core/pod_filter.ts';
import { Selector } from '#core/selector.ts';
import type { Entity } from './entity.ts';
import type { PodFacts, PodFinder } from './facts.ts';

interface Follower {
  readonly isMeant: (facts: PodFacts) => boolean;
  readonly target: PodFilterTarget;
  netns: ReadonlySet<NetnsId>;
}

/** Finds the network namespaces that pod filters select. A Pod is not selected before Kubernetes has reported it. */
export class PodFilterTracker implements PodFilters {
  readonly #directory: PodFinder | undefined;
  readonly #followers = new Set<Follower>();
  #entities: readonly Entity[] = [];

  /** @param directory undefined without Kubernetes; Pods then have the names that are found on this machine */
  constructor(directory: PodFinder | undefined) {
    this.#directory = directory;
  }

  /** Sets the current entities. Must also be called after each change of the directory. */
  set(entities: readonly Entity[]): void {
    this.#entities = entities;
    for (const follower of this.#followers) this.#update(follower);
  }

  /**
   * Calls `target` immediately for each selected namespace, and later for each change until disposed. A Pod that shares
   * the node's namespace is selected for samples, but is not passed to `target`.
   */
  follow(filter: PodFilter, target: PodFilterTarget): FollowedPodFilter {
    const follower: Follower = { isMeant: meantBy(filter), target, netns: new Set() };
    this.#followers.add(follower);
    this.#update(follower);
    return {
      isIncluded: (id) => follower.netns.has(id),
      [Symbol.dispose]: () => void this.#followers.delete(follower),
    };
  }

  #update(follower: Follower): void {
    const before = follower.netns;
    const now = new Set<NetnsId>();
    for (const entity of this.#entities) {
      const facts = this.#factsOf(entity);
      if (facts !== undefined && follower.isMeant(facts)) now.add(entity.netns);
    }
    follower.netns = now;
    // Namespaces are removed before others are added, because the number of entries in the target may be limited.
    for (const id of before) if (!now.has(id) && !isHostPodId(id)) follower.target.remove(id);
    for (const id of now) if (!before.has(id) && !isHostPodId(id)) follower.target.add(id);
  }

  #factsOf({ kind, uid, namespace, pod, labels }: Entity): PodFacts | undefined {
    if (kind === 'node') return undefined;
    if (kind === 'pod' && this.#directory !== undefined) return this.#directory.find(uid);
    return { namespace, name: pod, labels };
  }
}

function meantBy({ namespaces, selector, names }: PodFilter): (facts: PodFacts) => boolean {
  const bySelector = selector === undefined ? undefined : Selector.parse(selector);
  return ({ namespace, name, labels }) =>
    (namespaces === undefined || namespaces.includes(namespace)) &&
    (bySelector === undefined || bySelector.matches(labels)) &&
    (names === undefined || names.some((glob) => matchesGlob(name, glob)));
}

/**
 * Whether a text matches a glob with `*` and `?`. The run time is at most proportional to the product of both lengths.
 */
export function matchesGlob(text: string, glob: string): boolean {
  let at = 0;
  let next = 0;
  let star = -1;
  let starAt = 0;
  while (at < text.length) {
    if (glob[next] === '*') {
      star = next++;
      starAt = at;
    } else if (next < glob.length && (glob[next] === '?' || glob[next] === text[at])) {
      at++;
      next++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++starAt;
    } else {
      return false;
    }
  }
  while (glob[next] === '*') next++;
  return next === glob.length;
}
