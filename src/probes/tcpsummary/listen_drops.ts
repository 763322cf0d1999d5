import type { Cycle } from '#core/cycle.ts';
import { type NetnsId, UNLISTED } from '#core/netns.ts';
import { Unsupported } from '#core/reader.ts';
import type { ProbeScope } from '#probe/contract.ts';
import { fateOf } from '#probe/fate.ts';
import type { FlowRow } from '#probe/flow_row.ts';
import { defineRetained, type Retained } from '#probe/retained.ts';
import type { TcpEndsUser } from '#probe/tcp_ends_use.ts';

/** Label value for ports that are counted in a rest row. */
const OTHER_PORTS = '*';

type Totals = Map<NetnsId, Map<string, number>>;

const TOTALS = defineRetained<Totals>(() => new Map());

/** Number of connections that the listening sockets of a port have dropped, including sockets that were closed. */
export interface PortDrops {
  readonly netns: NetnsId;
  readonly port: string;
  readonly drops: number;
}

/** Counts the drops of listening sockets by port. */
export class ListenDrops {
  /** Reasons why the kernel does not report drops by port; empty if it does. */
  readonly lack: readonly string[];
  readonly #user: TcpEndsUser | undefined;
  readonly #scope: Pick<ProbeScope<Record<string, never>>, 'owners'>;
  readonly #totals: Retained<Totals>;
  /** For each row, the count that has already been added to the totals. */
  readonly #added = new WeakMap<FlowRow, number>();

  private constructor(
    scope: ProbeScope<Record<string, never>>,
    user: TcpEndsUser | undefined,
    lack: readonly string[],
  ) {
    this.#scope = scope;
    this.#user = user;
    this.lack = lack;
    this.#totals = scope.retained(TOTALS);
  }

  /** The socket source must already be in use, because its walk counts the drops of open sockets. */
  static async open(scope: ProbeScope<Record<string, never>>): Promise<ListenDrops> {
    try {
      const user = scope.own(await scope.tcpEnds.use({ probe: 'tcpsummary', roles: ['listener'] }));
      return new ListenDrops(scope, user, []);
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      return new ListenDrops(scope, undefined, [`drops by port: ${error.message}`]);
    }
  }

  get report() {
    return this.#user?.report;
  }

  /** Returns the drops by port. @throws if the walk over the sockets fails */
  async read(cycle: Cycle): Promise<PortDrops[]> {
    const totals = this.#totals.value;
    for (const row of (await this.#user?.rows(cycle)) ?? []) {
      const subject = this.#subjectOf(row);
      if (subject === undefined) continue;
      const drops = row.count('connections');
      const grown = drops - (this.#added.get(row) ?? 0);
      this.#added.set(row, drops);
      if (grown > 0) this.#add(subject, row, grown);
      if (row.isLast) this.#user?.counted(row);
    }
    return [...totals].flatMap(([netns, ports]) => [...ports].map(([port, drops]) => ({ netns, port, drops })));
  }

  forget(isDead: (id: NetnsId) => boolean): void {
    for (const id of this.#totals.value.keys()) if (id !== UNLISTED && isDead(id)) this.#totals.value.delete(id);
  }

  /** Returns the subject of a row; undefined if a scan may still find the owner, or if the owner is no longer shown. */
  #subjectOf({ place, isLast }: FlowRow): NetnsId | undefined {
    const fate = fateOf(this.#scope.owners, place.netns);
    if (fate === 'departed') return undefined;
    return fate !== 'waiting' ? fate : isLast ? UNLISTED : undefined;
  }

  #add(id: NetnsId, { place }: FlowRow, drops: number): void {
    const port = place.port === undefined ? OTHER_PORTS : String(place.port);
    const ports = this.#totals.value.get(id) ?? new Map<string, number>();
    this.#totals.value.set(id, ports.set(port, (ports.get(port) ?? 0) + drops));
  }
}
