import { type NetnsId, UNLISTED } from '#core/netns.ts';
import { type Fate, fateOf } from '#probe/fate.ts';
import type { FlowRow } from '#probe/flow_row.ts';
import type { HostPods } from '#probe/host_pods.ts';
import type { Owners } from '#probe/owners.ts';
import type { TcpEndsUser } from '#probe/tcp_ends_use.ts';

type KnownOwners = Pick<Owners, 'homeOf' | 'hasDeparted' | 'wasOwned' | 'isUnowned'>;

/**
 * Determines the entity under which a row is shown: in the node's namespace, the Pod of the row's cgroup; otherwise,
 * the owner of the namespace. Totals remain with the entity under which they were shown, even if the owner of the row
 * changes later.
 */
export class FlowSubjects {
  readonly #owners: KnownOwners;
  readonly #hostPods: Pick<HostPods, 'subjectOf'>;
  readonly #user: Pick<TcpEndsUser, 'split'>;

  constructor(owners: KnownOwners, hostPods: Pick<HostPods, 'subjectOf'>, user: Pick<TcpEndsUser, 'split'>) {
    this.#owners = owners;
    this.#hostPods = hostPods;
    this.#user = user;
  }

  /**
   * Sets the subject of each row. The cgroups of the rows must already have been looked up.
   * @returns the rows to show, including the new row of each row whose subject has changed
   */
  settle(rows: Iterable<FlowRow>): FlowRow[] {
    const shown: FlowRow[] = [];
    for (const row of rows) {
      const fate = this.#fateOf(row);
      row.isAbandoned = fate === 'departed';
      if (fate === 'departed' || fate === 'waiting') continue;
      shown.push(row);
      if (row.subject === undefined) row.subject = fate;
      if (row.subject === fate || row.isLast) continue;
      const next = this.#user.split(row);
      next.subject = fate;
      shown.push(next);
    }
    return shown;
  }

  #fateOf({ place: { netns, cgroup }, isLast }: FlowRow): Fate {
    const pod = this.#hostPods.subjectOf(cgroup);
    if (pod !== undefined) return this.#owners.hasDeparted(pod) ? 'departed' : pod;
    const fate = fateOf(this.#owners, netns);
    // No scan can find the owner of a namespace that has already been removed.
    return fate === 'waiting' && isLast ? UNLISTED : fate;
  }
}

/** Returns the entity under which a row is shown. */
export function subjectOf({ subject, place }: FlowRow): NetnsId {
  return subject ?? place.netns;
}
