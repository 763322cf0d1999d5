import { type NetnsId, UNLISTED } from '#core/netns.ts';
import type { Owners } from './owners.ts';

/**
 * Where the counts of a namespace are shown: under this namespace, not yet (`waiting`, because a scan may still find
 * the owner), or no longer (`departed`, because the owner is no longer shown).
 */
export type Fate = NetnsId | 'waiting' | 'departed';

/** Returns whether nothing is known any more about the owner of a namespace, because it ended long ago. */
export function isForgotten(owners: Pick<Owners, 'wasOwned' | 'isUnowned'>, id: NetnsId): boolean {
  return id !== UNLISTED && !owners.wasOwned(id) && !owners.isUnowned(id);
}

/**
 * Returns where the counts of a namespace are shown. Counts of a namespace without an owner are shown under
 * {@link UNLISTED}.
 */
export function fateOf(owners: Pick<Owners, 'homeOf' | 'hasDeparted' | 'wasOwned' | 'isUnowned'>, id: NetnsId): Fate {
  if (id === UNLISTED) return UNLISTED;
  const home = owners.homeOf(id);
  if (owners.hasDeparted(home)) return 'departed';
  if (owners.wasOwned(id)) return home;
  return owners.isUnowned(id) ? UNLISTED : 'waiting';
}
