import type { EventRecord } from '#api/events.ts';
import { ConfigReader } from '#config/load.ts';
import type { SinksConfig } from '#config/sinks.ts';
import { SinkSet } from '#delivery/sink_set.ts';
import { EventBus } from '#events/bus.ts';
import { PROBES } from '#probes/index.ts';
import { eventually } from './oracle.ts';

/** The way of events from the bus through the sinks of a configuration, without an agent around it. */
export class EventWay implements AsyncDisposable {
  readonly bus = new EventBus();
  readonly logged: string[] = [];
  readonly sinks = new SinkSet(this.bus, (_, message) => this.logged.push(message));
  #published = 0;

  static async open(sinks: object): Promise<EventWay> {
    const way = new EventWay();
    await way.apply(sinks);
    return way;
  }

  /** @param sinks as in a configuration */
  async apply(sinks: object): Promise<void> {
    await this.sinks.apply(parseSinks(sinks));
  }

  publish(events: readonly EventRecord[]): void {
    this.bus.publish(events);
    this.#published += events.length;
  }

  status(name: string) {
    return this.sinks.statuses().find((status) => status.name === name);
  }

  /** Of all probes: what came in is what is accounted for. */
  ledger(sink: string) {
    const rows = this.bus.ledger.rows([sink]);
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

  /** Waits until nothing is pending for a sink. */
  async settled(sink: string, deadlineMs = 10_000) {
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

export function parseSinks(sinks: object): SinksConfig {
  return new ConfigReader(PROBES).parse(JSON.stringify({ sinks })).sinks;
}
