/** Maps in which BPF programs look up namespaces. */

import { BpfError, type BpfMap, type BpfObject } from 'bpf-napi';
import type { CommonLayout } from '#bpf/generated/common.ts';
import { bytesOf } from '#bpf/layout.ts';
import type { NetnsId } from '#core/netns.ts';
import type { FollowedPodFilter, PodFilter, PodFilters } from '#core/pod_filter.ts';
import type { Owners } from './owners.ts';
import type { Tally } from './tally.ts';

type CommonMap = CommonLayout['map'];

/** Map that src/bpf/common/share.bpf.h adds to every object that has events or counts by namespace. */
export const OWNERS: CommonMap = 'owners';

/** Map that src/bpf/common/pod_filter.bpf.h adds to every object that supports a pod filter. */
export const FILTERED: CommonMap = 'filtered_netns';
/**
 * Maximum number of filtered namespaces without an owner slot. The remaining entries are reserved for namespaces that
 * have one.
 */
export const FILTERED_UNLISTED_MAX = 1_024;

/** Tells the programs of an object which slot the owner of each namespace has. */
export class OwnersMap implements Disposable {
  readonly #followed: Disposable;

  /** @param tally counts of the object that continue across runs, if there are any */
  constructor(object: Pick<BpfObject, 'map'>, owners: Owners, tally?: Pick<Tally, 'freed'>) {
    const map = object.map(OWNERS);
    this.#followed = owners.follow({
      listed: (id, slot) => {
        try {
          map.update(keyOf(id), bytesOf(slot));
        } catch (error) {
          // If the map is full, the namespace counts as unlisted.
          if (!(error instanceof BpfError)) throw error;
        }
      },
      unlisted: (id) => void map.delete(keyOf(id)),
      freed: (slot) => tally?.freed(slot),
    });
  }

  [Symbol.dispose](): void {
    this.#followed[Symbol.dispose]();
  }
}

/** Maintains the map of namespaces that the probe's pod filter selects. Its programs read this map. */
export class MapPodFilter implements Disposable {
  readonly #followed: FollowedPodFilter;
  readonly #owners: Owners;
  /** Namespaces that did not fit into the map. */
  readonly #outside = new Set<NetnsId>();
  readonly #unlisted = new Set<NetnsId>();

  constructor(
    map: BpfMap,
    filter: PodFilter,
    { filters, owners }: { readonly filters: PodFilters; readonly owners: Owners },
  ) {
    this.#owners = owners;
    this.#followed = filters.follow(filter, {
      add: (id) => this.#add(map, id),
      remove: (id) => {
        this.#unlisted.delete(id);
        if (!this.#outside.delete(id)) map.delete(keyOf(id));
      },
    });
  }

  isIncluded(id: NetnsId): boolean {
    return this.#followed.isIncluded(id);
  }

  get degraded(): string[] {
    const count = this.#outside.size;
    return count === 0
      ? []
      : [`${count} namespaces of the pod filter are not observed because the map ${FILTERED} is full`];
  }

  [Symbol.dispose](): void {
    this.#followed[Symbol.dispose]();
  }

  #add(map: BpfMap, id: NetnsId): void {
    if (this.#owners.slotOf(id) === undefined) {
      if (this.#unlisted.size >= FILTERED_UNLISTED_MAX) {
        this.#outside.add(id);
        return;
      }
      this.#unlisted.add(id);
    }
    try {
      map.update(keyOf(id), YES);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      this.#outside.add(id);
    }
  }
}

const YES = Uint8Array.of(1);

function keyOf(id: NetnsId): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(id)).buffer);
}
