/**
 * The stages between the kernel thread and the sinks, in order:
 *
 *     receive → enrich → redact → fold → judge → identify → group → limit → publish → deliver
 */

import type { EventRecord } from '#api/events.ts';
import type { Incident } from '#api/incidents.ts';
import type { EventsConfig } from '#config/events.ts';
import type { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord, Source } from '#delivery/record.ts';
import type { RecordBus } from '#events/bus.ts';
import { type Connection, ConnectionIds, connectionOf } from '#events/connection_id.ts';
import { withPeers } from '#events/enrich.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { EventFold } from '#events/fold.ts';
import { INCIDENT_SOURCE } from '#events/incident_kind.ts';
import { Incidents } from '#events/incidents/incidents.ts';
import type { ReadCounters } from '#events/incidents/server_counters.ts';
import { PodLimiter } from '#events/limiter.ts';
import type { PolicyJudge } from '#events/policies/judge.ts';
import { Verdicts } from '#events/policies/verdicts.ts';
import { Privacy } from '#events/privacy.ts';
import type { PeerLookup } from '#peers/peer.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { EventSet } from '#probe/event.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';

export interface LaneOptions {
  /** Name of this node. */
  readonly node: string;
  readonly probes: readonly AnyProbe[];
  /** Range of the ephemeral ports, which this node's kernel assigns to clients. */
  readonly ephemeral: PortRange;
  readonly ledger: Ledger;
  readonly bus: RecordBus<EventRecord>;
  readonly incidents: RecordBus<Incident>;
  /** Returns the lookup that finds the owners of addresses; undefined if events do not name their peers. */
  readonly peers: () => PeerLookup | undefined;
  /** Reads the counters of servers on this node, for incidents. */
  readonly counters?: ReadCounters;
  /** Returns what says which policies deny connections; undefined if events do not name policies. */
  readonly policies?: () => Pick<PolicyJudge, 'judge'> | undefined;
  /** Passes records to the sinks that accept their kind. */
  readonly deliver: (records: readonly LaneRecord[]) => void;
}

/**
 * Processes records on their way from the kernel thread to the sinks. Records other than events skip the stages from
 * enrich to publish, because their probe has already selected them (`probe/records.ts`). The ledger counts the records
 * that each stage drops or holds.
 */
export class Lane implements Disposable {
  /** Groups events with the same cause. */
  readonly incidents: Incidents;
  /** Removes what the configuration hides, before any stage can keep it. */
  readonly privacy = new Privacy();
  readonly #options: LaneOptions;
  readonly #fold: EventFold;
  readonly #limiter = new PodLimiter(1);
  readonly #ids = new ConnectionIds();
  readonly #verdicts: Verdicts;
  readonly #types: ReadonlyMap<string, EventSet>;

  constructor(options: LaneOptions) {
    this.#options = options;
    const { ledger, probes, ephemeral } = options;
    this.#verdicts = new Verdicts({
      held: (event, change) => ledger.held(sourceOf(event), change),
      send: (events) => this.#limit(this.#identify(events)),
    });
    this.incidents = new Incidents({
      node: options.node,
      peers: options.peers,
      counters: options.counters,
      send: (incidents) => this.#publishIncidents(incidents),
    });
    this.#types = new Map(probes.map(({ name, events }) => [name, events]));
    this.#fold = new EventFold({
      describe: (probe, type) => this.#types.get(probe)?.[type],
      ephemeral,
      send: (events) => this.#judge(events),
      held: (event, change) => ledger.held(sourceOf(event), change),
      folded: (event) => ledger.folded(sourceOf(event)),
    });
  }

  configure({ limit, foldMs, foldBy }: Omit<EventsConfig, 'policies'>): void {
    this.#limiter.perSecond = limit;
    this.#fold.by = foldBy;
    this.#fold.windowMs = foldMs;
    this.incidents.foldMs = foldMs;
  }

  receive(events: readonly EventRecord[]): void {
    for (const event of events) this.#options.ledger.received(sourceOf(event));
    const enriched = this.#enrich(events).map((event) =>
      this.privacy.event(event, this.#types.get(event.probe)?.[event.type]),
    );
    this.#judge(enriched.filter((event) => this.#fold.take(event)));
  }

  receiveRecords(records: readonly LaneRecord[]): void {
    for (const record of records) this.#options.ledger.received(record);
    this.#deliver(records);
  }

  /** Number of events that were sent without folding because too many windows were open. */
  get unfolded(): number {
    return this.#fold.unfolded;
  }

  /** Immediately sends the events that are held for folding, and the incidents that have changed. */
  [Symbol.dispose](): void {
    this.#fold[Symbol.dispose]();
    this.#verdicts[Symbol.dispose]();
    this.incidents[Symbol.dispose]();
  }

  /** Adds the names of the peers to the events, as far as they are known. */
  #enrich(events: readonly EventRecord[]): readonly EventRecord[] {
    const { node, peers } = this.#options;
    const lookup = peers();
    if (lookup === undefined) return events;
    return events.map((event) => withPeers(event, node, lookup));
  }

  /**
   * Passes the events on at once, except those whose connection a policy may deny. These wait for the answers of the
   * Kubernetes API, which the policies of the last minute do not need.
   */
  #judge(events: readonly EventRecord[]): void {
    const judge = this.#options.policies?.();
    const pass = (some: readonly EventRecord[]) => this.#limit(this.#identify(some));
    if (judge === undefined) pass(events);
    else pass(events.filter((event) => !this.#verdicts.awaits(event, judge.judge(event, this.#connectionOf(event)))));
  }

  /**
   * Adds the ID of its connection to each event that has one, and adds the event to the incident of the connection.
   * This happens before the limit, so that an incident counts all of its events.
   */
  #identify(events: readonly EventRecord[]): readonly EventRecord[] {
    return events.map((event) => {
      const connection = this.#connectionOf(event);
      this.incidents.take(event, connection);
      return connection === undefined ? event : { ...event, connectionId: this.#ids.of(connection) };
    });
  }

  #connectionOf(event: EventRecord): Connection | undefined {
    const known = this.#types.get(event.probe)?.[event.type]?.client?.(event);
    return connectionOf(event, known, this.#options.ephemeral);
  }

  #publishIncidents(incidents: readonly Incident[]): void {
    for (const _ of incidents) this.#options.ledger.received(INCIDENT_SOURCE);
    this.#deliver(this.#options.incidents.publish(incidents));
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
