import type { EntityStatus } from '#api/entities.ts';
import type { Cycle } from '#core/cycle.ts';
import type { PodDirectory } from '#pods/directory.ts';
import type { Entity } from '#pods/entity.ts';
import type { NetnsRegistry } from '#pods/registry.ts';
import type { Sources } from '#sources/sources.ts';

export interface EntityPlaces {
  readonly entities: Iterable<Entity>;
  readonly registry: Pick<NetnsRegistry, 'snapshot'>;
  readonly route: Pick<Sources['route'], 'addresses'>;
  readonly directory: Pick<PodDirectory, 'find'>;
}

/** Returns the entities with their addresses. */
export async function entityStatuses(
  { entities, registry, route, directory }: EntityPlaces,
  cycle: Cycle,
): Promise<EntityStatus[]> {
  const statuses: EntityStatus[] = [];
  const places = new Map(registry.snapshot().map((entry) => [entry.id, entry]));
  for (const entity of entities) {
    const place = places.get(entity.netns);
    const ips = place === undefined ? [] : route.addresses(place, cycle);
    // An agent that may not enter the namespace can only use the addresses from the API.
    statuses.push(statusOf(entity, ips.length > 0 ? ips : (directory.find(entity.uid)?.ips ?? [])));
    await cycle.pause();
  }
  return statuses;
}

function statusOf(entity: Entity, ips: readonly string[]): EntityStatus {
  const { kind, namespace, pod, netns, sharedNetns, uid, labels } = entity;
  const sharesNode = sharedNetns !== undefined;
  return { kind, namespace, pod, netns: String(sharedNetns ?? netns), sharesNode, uid, labels, ips };
}
