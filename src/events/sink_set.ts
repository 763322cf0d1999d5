import { isDeepStrictEqual } from 'node:util';
import type { QueueConfig, SinkName, SinksConfig } from '../config/sinks.ts';
import { type EventBuffer, MemoryBuffer } from './buffer.ts';
import type { EventBus } from './bus.ts';
import type { LedgerRow } from './ledger.ts';
import type { Sink } from './sink.ts';
import { type BatchOptions, SinkQueue, type SinkQueueOptions, type SinkStatus } from './sink_queue.ts';
import { StdoutSink } from './sinks/stdout.ts';

/** Time that sinks get to take what is left when they are closed. */
export const FLUSH_MS = 4_000;

/** Written as soon as it comes; what comes meanwhile goes together. */
const AT_ONCE: BatchOptions = { events: 500, bytes: 1024 * 1024, ageMs: 0 };

export type SinkLog = SinkQueueOptions['log'];

interface Running {
  readonly queue: SinkQueue;
  config: QueueConfig;
}

/** The sinks that the configuration asks for, each behind its queue. */
export class SinkSet {
  readonly #bus: EventBus;
  readonly #log: SinkLog;
  readonly #running = new Map<SinkName, Running>();

  constructor(bus: EventBus, log: SinkLog) {
    this.#bus = bus;
    this.#log = log;
  }

  /** Opens, changes and closes sinks. What waits for a sink that is only changed is not lost. */
  async apply(config: SinksConfig): Promise<void> {
    const wanted = Object.entries(config) as [SinkName, QueueConfig | undefined][];
    const removed = [...this.#running].filter(([name]) => config[name] === undefined);
    for (const [name] of removed) this.#running.delete(name);
    this.#share();
    for (const [name, sinkConfig] of wanted) {
      if (sinkConfig !== undefined) await this.#open(name, sinkConfig, config);
    }
    this.#share();
    await Promise.all(removed.map(([, { queue }]) => queue.close(FLUSH_MS)));
  }

  statuses(): SinkStatus[] {
    return [...this.#running.values()].map(({ queue }) => queue.status());
  }

  rows(): LedgerRow[] {
    return this.#bus.ledger.rows([...this.#running.keys()]);
  }

  /** Lets all sinks take what is left, and says what became of the events. */
  async close(): Promise<void> {
    const sinks = [...this.#running];
    await Promise.all(sinks.map(([, { queue }]) => queue.close(FLUSH_MS)));
    for (const [name] of sinks) this.#log('info', `events to ${name}: ${describe(this.#bus.ledger.rows([name]))}`);
  }

  async #open(name: SinkName, config: QueueConfig, all: SinksConfig): Promise<void> {
    const running = this.#running.get(name);
    if (isDeepStrictEqual(running?.config, config)) return;
    const { sink, batch } = await this.#build(name, all);
    if (running === undefined) {
      const buffer = this.#buffer(name, config);
      const queue = new SinkQueue(sink, buffer, batch, { name, ledger: this.#bus.ledger, log: this.#log });
      this.#running.set(name, { queue, config });
      return;
    }
    await running.queue.replace(sink, batch, async (buffer) => this.#exchange(name, buffer, config));
    running.config = config;
  }

  async #build(name: SinkName, _config: SinksConfig): Promise<{ sink: Sink; batch: BatchOptions }> {
    switch (name) {
      default:
        return { sink: new StdoutSink(), batch: AT_ONCE };
    }
  }

  #buffer(name: SinkName, { queue, queueBytes }: QueueConfig): EventBuffer {
    return new MemoryBuffer({ events: queue, bytes: queueBytes }, (events, reason) => {
      for (const { record } of events) this.#bus.ledger.dropped(record.probe, name, reason);
    });
  }

  async #exchange(name: SinkName, from: EventBuffer, config: QueueConfig): Promise<EventBuffer> {
    const to = this.#buffer(name, config);
    to.push(await from.drain());
    return to;
  }

  #share(): void {
    this.#bus.sinks = [...this.#running.values()].map(({ queue }) => queue);
  }
}

function describe(rows: readonly LedgerRow[]): string {
  const sum = (of: (row: LedgerRow) => number) => rows.reduce((total, row) => total + of(row), 0);
  const reasons = new Map<string, number>();
  for (const { dropped } of rows) {
    for (const [reason, count] of dropped) reasons.set(reason, (reasons.get(reason) ?? 0) + count);
  }
  const dropped = [...reasons].map(([reason, count]) => `, ${count} dropped (${reason})`).join('');
  const kept = sum(({ pending }) => pending);
  return `${sum(({ delivered }) => delivered)} delivered${dropped}${kept > 0 ? `, ${kept} kept in the spool` : ''}`;
}
