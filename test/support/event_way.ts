import { Lane } from '#agent/lane.ts';
import type { EventRecord } from '#api/events.ts';
import { ConfigReader } from '#config/load.ts';
import type { SinksConfig } from '#config/sinks.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord, StoredKind } from '#delivery/record.ts';
import { SinkSet } from '#delivery/sink_set.ts';
import { RecordBus } from '#events/bus.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { INCIDENT_KIND } from '#events/incident_kind.ts';
import { RECORD_KINDS } from '#events/kinds.ts';
import { PROBES } from '#probes/index.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { Files } from '../../src/files/files.ts';
import { eventually } from './oracle.ts';

/** The event lane and its sinks without the rest of the agent. Events are neither folded nor limited. */
export class EventWay implements AsyncDisposable {
  readonly logged: string[] = [];
  readonly books = new Ledger();
  readonly sinks: SinkSet;
  readonly lane: Lane;
  readonly #kinds: readonly StoredKind[];
  #published = 0;

  private constructor(kinds: readonly StoredKind[]) {
    this.#kinds = kinds;
    this.sinks = new SinkSet({
      ledger: this.books,
      kinds,
      files: new Files(),
      log: (_, message) => this.logged.push(message),
    });
    this.lane = new Lane({
      node: 'n',
      probes: PROBES,
      ephemeral: DEFAULT_PORT_RANGE,
      ledger: this.books,
      bus: new RecordBus(EVENT_KIND),
      incidents: new RecordBus(INCIDENT_KIND),
      peers: () => undefined,
      deliver: (records) => this.sinks.offer(records),
    });
    this.lane.configure({ limit: Number.MAX_SAFE_INTEGER, foldMs: 0, foldBy: 'service', history: 0 });
  }

  /** Opens a lane with these sinks. @param kinds record kinds; by default all */
  static async open(sinks: object, kinds: readonly StoredKind[] = RECORD_KINDS): Promise<EventWay> {
    const way = new EventWay(kinds);
    await way.apply(sinks);
    return way;
  }

  /** Applies a configuration of the sinks. @param sinks the section `sinks` of a configuration */
  async apply(sinks: object): Promise<void> {
    await this.sinks.apply(parseSinks(sinks, this.#names));
  }

  publish(events: readonly EventRecord[]): void {
    this.lane.receive(events);
    this.#published += events.length;
  }

  /** Passes records of kinds other than events to the lane. */
  send(records: readonly LaneRecord[]): void {
    this.lane.receiveRecords(records);
    this.#published += records.length;
  }

  get #names(): string[] {
    return this.#kinds.map(({ name }) => name);
  }

  status(name: string) {
    return this.sinks.statuses().find((status) => status.name === name);
  }

  /**
   * Checks that every record of all probes is accounted for, and returns the sums.
   * @param kinds record kinds; by default all
   */
  ledger(sink: string, kinds: readonly string[] = this.#names) {
    const rows = this.books.rows([{ name: sink, kinds: new Set(kinds) }]);
    const total = (of: (row: (typeof rows)[number]) => number) => rows.reduce((sum, row) => sum + of(row), 0);
    const dropped: Record<string, number> = {};
    for (const row of rows) {
      for (const [reason, count] of row.dropped) dropped[reason] = (dropped[reason] ?? 0) + count;
    }
    return {
      published: this.#published,
      recovered: total(({ recovered }) => recovered),
      delivered: total(({ delivered }) => delivered),
      pending: total(({ pending }) => pending),
      dropped,
      lost: Object.values(dropped).reduce((sum, count) => sum + count, 0),
    };
  }

  /** Waits until no record is pending for a sink. */
  async settled(sink: string, deadlineMs = 60_000) {
    return eventually(() => {
      const ledger = this.ledger(sink);
      if (ledger.pending > 0) throw new Error(`${ledger.pending} pending: ${JSON.stringify(this.status(sink))}`);
      return ledger;
    }, deadlineMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sinks.close();
  }
}

export function parseSinks(sinks: object, kinds?: readonly string[]): SinksConfig {
  return new ConfigReader(PROBES, kinds).parse(JSON.stringify({ sinks })).sinks;
}
