/**
 * Returns the newest items to keep, in order. Each owner gets an equal share of the room, so a noisy owner cannot
 * displace the items of others. The unused share of quiet owners is divided among the other owners.
 * @param items oldest first
 * @param max maximum number of items to keep
 */
export function lastOfEach<T>(items: readonly T[], ownerOf: (item: T) => string, max: number): T[] {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(ownerOf(item), (counts.get(ownerOf(item)) ?? 0) + 1);
  let { share, spare } = fairShare([...counts.values()], max);
  const kept: T[] = [];
  const seen = new Map<string, number>();
  for (const item of items.toReversed()) {
    const owner = ownerOf(item);
    const later = seen.get(owner) ?? 0;
    seen.set(owner, later + 1);
    if (later < share) kept.push(item);
    else if (later === share && spare > 0) {
      spare--;
      kept.push(item);
    }
  }
  return kept.reverse();
}

/** Returns the share of each owner, and the number of owners that get one additional item. */
function fairShare(counts: readonly number[], max: number): { readonly share: number; readonly spare: number } {
  let left = max;
  for (const [index, count] of counts.toSorted((a, b) => a - b).entries()) {
    const sharers = counts.length - index;
    const share = Math.floor(left / sharers);
    if (count > share) return { share, spare: left % sharers };
    left -= count;
  }
  return { share: max, spare: 0 };
}
