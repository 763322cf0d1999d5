import type { OwnedNetns } from '#probe/owners.ts';
import { type Entity, isHostPod } from './entity.ts';
import { ownerKey } from './shared_room.ts';

/**
 * Returns the owner in the maps of BPF probes to which the entity's namespace belongs. A namespace that is known only
 * from a process has none, because a process can create any number of namespaces. A Pod that shares the node's
 * namespace has none either.
 */
export function ownedBy(entity: Entity): OwnedNetns[] {
  const { kind, netns: id, namespace, pod, isRetired } = entity;
  if (isRetired || kind === 'process' || isHostPod(entity)) return [];
  return [
    {
      id,
      owner: ownerKey(entity),
      name: kind === 'node' ? 'the node' : namespace === '' ? pod : `${namespace}/${pod}`,
    },
  ];
}
