import type { NetnsId } from '#core/netns.ts';
import { type HomePlace, homeOf } from './owner.ts';

/**
 * Maximum number of namespaces per Pod among which its home is determined. The namespaces that were seen first are
 * used.
 */
const PLACES_MAX = 256;

/** A namespace that contains processes of a Pod or container, or that was its home. */
export type Presence = Omit<HomePlace, 'isOthers'>;

/**
 * Tracks the namespaces in which Pods and containers have processes. Determines which of them is the home of each Pod
 * or container, that is, the namespace that was created for it.
 */
export class Homes {
  readonly #places = new Map<string, Map<NetnsId, Presence>>();
  readonly #uids = new Map<NetnsId, readonly string[]>();
  /** Cached results of `of`. */
  readonly #homes = new Map<string, NetnsId | 'node' | undefined>();
  readonly #hostNetwork: (uid: string) => boolean | undefined;
  #atNode: ReadonlyMap<string, number> = new Map();

  /** @param hostNetwork returns whether a Pod uses the node's network, according to Kubernetes; undefined if unknown */
  constructor(hostNetwork: (uid: string) => boolean | undefined) {
    this.#hostNetwork = hostNetwork;
  }

  /**
   * Sets the owners with processes in the node's namespace. Each value is the start of the owner's oldest process
   * there, in seconds after boot.
   */
  set atNode(starts: ReadonlyMap<string, number>) {
    this.#atNode = starts;
    this.forget();
  }

  /** Drops the cached results, because Kubernetes may have reported something new. */
  forget(): void {
    this.#homes.clear();
  }

  /** Sets the Pods and containers that have processes in a namespace, or had their home in it. */
  set(id: NetnsId, places: ReadonlyMap<string, Presence>): void {
    for (const uid of this.#uids.get(id) ?? []) {
      this.#homes.delete(uid);
      if (places.has(uid)) continue;
      const others = this.#places.get(uid);
      others?.delete(id);
      if (others?.size === 0) this.#places.delete(uid);
    }
    if (places.size === 0) this.#uids.delete(id);
    else this.#uids.set(id, [...places.keys()]);
    for (const [uid, place] of places) {
      this.#homes.delete(uid);
      const all = this.#places.get(uid);
      if (all === undefined) this.#places.set(uid, new Map([[id, place]]));
      else all.set(id, place);
    }
  }

  /** Returns the namespaces that contain processes of a Pod or container, or that were its home. */
  placesOf(uid: string): Iterable<NetnsId> {
    return this.#places.get(uid)?.keys() ?? [];
  }

  of(uid: string): NetnsId | 'node' | undefined {
    if (!this.#homes.has(uid)) {
      const places: HomePlace[] = [];
      for (const place of this.#places.get(uid)?.values() ?? []) {
        if (places.length === PLACES_MAX) break;
        places.push({ ...place, isOthers: this.#hasResident(place.id, uid) });
      }
      const evidence = { places, hostNetwork: this.#hostNetwork(uid), nodeStartSeconds: this.#atNode.get(uid) };
      this.#homes.set(uid, homeOf(evidence));
    }
    return this.#homes.get(uid);
  }

  /** Whether another owner has processes in this namespace, but in no other. */
  #hasResident(id: NetnsId, uid: string): boolean {
    return (this.#uids.get(id) ?? []).some((other) => {
      const places = this.#places.get(other);
      return other !== uid && places?.size === 1 && places.get(id)?.startSeconds !== undefined;
    });
  }
}
