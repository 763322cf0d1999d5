import { isDeepStrictEqual } from 'node:util';
import type { SinkStatus } from '#api/sinks.ts';
import type { QueueConfig, SinkConfig, SinkName, SinksConfig, SpoolConfig } from '#config/sinks.ts';
import type { EventBus } from '#events/bus.ts';
import { type EventBuffer, MemoryBuffer } from './buffer.ts';
import type { LedgerRow } from './ledger.ts';
import type { Sink } from './sink.ts';
import { type BatchOptions, SinkQueue, type SinkQueueOptions } from './sink_queue.ts';
import { FileSink } from './sinks/file.ts';
import { LokiSink } from './sinks/loki.ts';
import { StdoutSink } from './sinks/stdout.ts';
import { Spool } from './spool.ts';

/** Time that sinks get to take what is left when they are closed. */
export const FLUSH_MS = 4_000;

/** Written as soon as it comes; what comes meanwhile goes together. */
const AT_ONCE: BatchOptions = { events: 500, bytes: 1024 * 1024, ageMs: 0 };

export type SinkLog = SinkQueueOptions['log'];

type BufferConfig = QueueConfig & { readonly spool?: SpoolConfig | undefined };

interface Running {
  readonly queue: SinkQueue;
  config: BufferConfig;
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
    const wanted = Object.entries(config) as [SinkName, BufferConfig | undefined][];
    const removed = [...this.#running].filter(([name]) => config[name] === undefined);
    for (const [name] of removed) this.#running.delete(name);
    this.#share();
    for (const [name, sinkConfig] of wanted) {
      if (sinkConfig !== undefined) await this.#open(name, sinkConfig, config);
    }
    this.#share();
    await Promise.all(removed.map(([name, { queue }]) => this.#remove(name, queue)));
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

  /** What stays in its spool is found there when the sink is configured again. */
  async #remove(name: SinkName, queue: SinkQueue): Promise<void> {
    await queue.close(FLUSH_MS);
    for (const { probe, pending } of this.#bus.ledger.rows([name])) {
      if (pending > 0) this.#bus.ledger.dropped(probe, name, 'left_in_spool', pending);
    }
  }

  async #open(name: SinkName, config: BufferConfig, all: SinksConfig): Promise<void> {
    const running = this.#running.get(name);
    if (isDeepStrictEqual(running?.config, config)) return;
    const { sink, batch } = await this.#build(name, all);
    if (running === undefined) {
      const buffer = await this.#buffer(name, config);
      const queue = new SinkQueue(sink, buffer, batch, { name, ledger: this.#bus.ledger, log: this.#log });
      this.#running.set(name, { queue, config });
      return;
    }
    const isSameBuffer = isDeepStrictEqual(bufferOf(running.config), bufferOf(config));
    await running.queue.replace(sink, batch, async (buffer) => {
      if (isSameBuffer) return buffer;
      const waiting = await buffer.drain();
      const other = await this.#buffer(name, config);
      other.push(waiting);
      return other;
    });
    running.config = config;
  }

  async #build(name: SinkName, { loki, otlp, file }: SinksConfig): Promise<{ sink: Sink; batch: BatchOptions }> {
    if (name === 'loki' && loki !== undefined) return { sink: new LokiSink(loki), batch: batchOf(loki) };
    if (name === 'file' && file !== undefined) return { sink: new FileSink(file), batch: AT_ONCE };
    if (name === 'otlp' && otlp !== undefined) {
      const { OtlpSink } = await import('./sinks/otlp.ts');
      return { sink: new OtlpSink(otlp), batch: batchOf(otlp) };
    }
    return { sink: new StdoutSink(), batch: AT_ONCE };
  }

  async #buffer(name: SinkName, config: BufferConfig): Promise<EventBuffer> {
    const { ledger } = this.#bus;
    const memory = { events: config.queue, bytes: config.queueBytes };
    if (config.spool !== undefined) {
      return Spool.open({
        ...config.spool,
        memory,
        dropped: (probe, reason, count) => ledger.dropped(probe, name, reason, count),
        recovered: (probe, count) => ledger.recovered(probe, name, count),
        log: this.#log,
      });
    }
    return new MemoryBuffer(memory, (events, reason) => {
      for (const { record } of events) ledger.dropped(record.probe, name, reason);
    });
  }

  #share(): void {
    this.#bus.sinks = [...this.#running.values()].map(({ queue }) => queue);
  }
}

function bufferOf({ queue, queueBytes, spool }: BufferConfig): BufferConfig {
  return { queue, queueBytes, spool };
}

function batchOf({ batch }: SinkConfig<'loki' | 'otlp'>): BatchOptions {
  return { events: batch.events, bytes: batch.bytes, ageMs: batch.age };
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
