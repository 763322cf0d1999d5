/**
 * The stages between the kernel thread and the sinks, in order:
 *
 *     receive → enrich → fold → limit → publish → deliver
 */

import type { EventRecord } from '#api/events.ts';
import type { EventsConfig } from '#config/events.ts';
import type { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord, Source } from '#delivery/record.ts';
import type { RecordBus } from '#events/bus.ts';
import { withPeer } from '#events/enrich.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { EventFold } from '#events/fold.ts';
import { PodLimiter } from '#events/limiter.ts';
import type { PeerLookup } from '#peers/peer.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';

export interface LaneOptions {
  /** Name of this node. */
  readonly node: string;
  readonly probes: readonly AnyProbe[];
  /** Range of the ephemeral ports, which this node's kernel assigns to clients. */
  readonly ephemeral: PortRange;
  readonly ledger: Ledger;
  readonly bus: RecordBus<EventRecord>;
  /** Returns the lookup that finds the owners of addresses; undefined if events do not name their peers. */
  readonly peers: () => PeerLookup | undefined;
  /** Passes records to the sinks that accept their kind. */
  readonly deliver: (records: readonly LaneRecord[]) => void;
}

/**
 * Processes records on their way from the kernel thread to the sinks. Records other than events skip the stages from
 * enrich to publish, because their probe has already selected them (`probe/records.ts`). The ledger counts the records
 * that each stage drops or holds.
 */
export class Lane implements Disposable {
  readonly #options: LaneOptions;
  readonly #fold: EventFold;
  readonly #limiter = new PodLimiter(1);

  constructor(options: LaneOptions) {
    this.#options = options;
    const { ledger, probes, ephemeral } = options;
    const types = new Map(probes.map(({ name, events }) => [name, events]));
    this.#fold = new EventFold({
      describe: (probe, type) => types.get(probe)?.[type],
      ephemeral,
      send: (events) => this.#limit(events),
      held: (event, change) => ledger.held(sourceOf(event), change),
      folded: (event) => ledger.folded(sourceOf(event)),
    });
  }

  configure({ limit, foldMs, foldBy }: EventsConfig): void {
    this.#limiter.perSecond = limit;
    this.#fold.by = foldBy;
    this.#fold.windowMs = foldMs;
  }

  receive(events: readonly EventRecord[]): void {
    for (const event of events) this.#options.ledger.received(sourceOf(event));
    this.#limit(this.#enrich(events).filter((event) => this.#fold.take(event)));
  }

  receiveRecords(records: readonly LaneRecord[]): void {
    for (const record of records) this.#options.ledger.received(record);
    this.#deliver(records);
  }

  /** Number of events that were sent without folding because too many windows were open. */
  get unfolded(): number {
    return this.#fold.unfolded;
  }

  /** Immediately sends the events that are held for folding. */
  [Symbol.dispose](): void {
    this.#fold[Symbol.dispose]();
  }

  /** Adds the peer to each event whose peer is known. */
  #enrich(events: readonly EventRecord[]): readonly EventRecord[] {
    const { node, peers } = this.#options;
    const lookup = peers();
    if (lookup === undefined) return events;
    const context = { node, ...lookup };
    return events.map((event) => withPeer(event, context));
  }

  /**
   * Applies the rate limit of each Pod. This stage runs after folding, so that repeated events of a Pod do not use up
   * the limit for its other events.
   */
  #limit(events: readonly EventRecord[]): void {
    const admitted = events.filter((event) => {
      const admit = this.#limiter.admit(event);
      if (!admit) this.#options.ledger.limited(sourceOf(event));
      return admit;
    });
    if (admitted.length > 0) this.#publish(admitted);
  }

  /** Sends events to the clients that follow them, keeps them for later queries, and delivers them to the sinks. */
  #publish(events: readonly EventRecord[]): void {
    this.#deliver(this.#options.bus.publish(events));
  }

  #deliver(records: readonly LaneRecord[]): void {
    for (const record of records) this.#options.ledger.published(record);
    this.#options.deliver(records);
  }
}

function sourceOf({ probe }: EventRecord): Source {
  return { kind: EVENT_KIND.name, probe };
}
