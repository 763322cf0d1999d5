import type { NetnsId } from '#core/netns.ts';
import { type HomePlace, homeOf } from './owner.ts';

/** Namespaces of one Pod among which its home is looked for: those that were seen first. */
const PLACES_MAX = 256;

/** A namespace that somebody is in, or was at home in. */
export type Presence = Omit<HomePlace, 'isOthers'>;

/** Which Pods and containers are in which namespaces, and where each is at home. */
export class Homes {
  readonly #places = new Map<string, Map<NetnsId, Presence>>();
  readonly #uids = new Map<NetnsId, readonly string[]>();
  /** What has been worked out and still holds. */
  readonly #homes = new Map<string, NetnsId | 'node' | undefined>();
  readonly #hostNetwork: (uid: string) => boolean | undefined;
  #atNode: ReadonlyMap<string, number> = new Map();

  /** @param hostNetwork what Kubernetes says of a Pod; undefined where it says nothing */
  constructor(hostNetwork: (uid: string) => boolean | undefined) {
    this.#hostNetwork = hostNetwork;
  }

  /** Who has processes in the node's namespace, and when the oldest of them began, in seconds after boot. */
  set atNode(starts: ReadonlyMap<string, number>) {
    this.#atNode = starts;
    this.forget();
  }

  /** Kubernetes may say something else now. */
  forget(): void {
    this.#homes.clear();
  }

  /** Takes who is in a namespace, or was at home there, instead of what was known of it. */
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

  /** Namespaces that a Pod or a container is in, or was at home in. */
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

  /** Whether somebody else has processes there and nowhere else. */
  #hasResident(id: NetnsId, uid: string): boolean {
    return (this.#uids.get(id) ?? []).some((other) => {
      const places = this.#places.get(other);
      return other !== uid && places?.size === 1 && places.get(id)?.startSeconds !== undefined;
    });
  }
}
