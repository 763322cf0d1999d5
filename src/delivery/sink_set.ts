import { isDeepStrictEqual } from 'node:util';
import type { SinkStatus } from '#api/sinks.ts';
import type { QueueConfig, SinkConfig, SinkName, SinksConfig, SpoolConfig } from '#config/sinks.ts';
import type { Files } from '#files/files.ts';
import { MemoryBuffer, type RecordBuffer } from './buffer.ts';
import type { Ledger, LedgerRow } from './ledger.ts';
import type { LaneRecord, StoredKind } from './record.ts';
import type { Sink } from './sink.ts';
import { type BatchOptions, SinkQueue, type SinkQueueOptions } from './sink_queue.ts';
import { FileSink } from './sinks/file.ts';
import { LokiSink } from './sinks/loki.ts';
import { StdoutSink } from './sinks/stdout.ts';
import { Spool } from './spool.ts';

/** Milliseconds that sinks have to write the queued records when they are closed. */
export const FLUSH_MS = 4_000;

/** Writes a record as soon as it arrives. Records that arrive during a write form the next batch. */
const AT_ONCE: BatchOptions = { records: 500, bytes: 1024 * 1024, ageMs: 0 };

export type SinkLog = SinkQueueOptions['log'];

type BufferConfig = QueueConfig & { readonly spool?: SpoolConfig | undefined };

interface Running {
  readonly queue: SinkQueue;
  config: BufferConfig;
  kinds: ReadonlySet<string>;
}

export interface SinkSetOptions {
  readonly ledger: Ledger;
  /** All record kinds. */
  readonly kinds: readonly StoredKind[];
  readonly files: Files;
  readonly log: SinkLog;
}

/** The configured sinks, each with its queue. */
export class SinkSet {
  readonly #ledger: Ledger;
  readonly #kinds: readonly StoredKind[];
  readonly #files: Files;
  readonly #log: SinkLog;
  readonly #running = new Map<SinkName, Running>();

  constructor({ ledger, kinds, files, log }: SinkSetOptions) {
    this.#ledger = ledger;
    this.#kinds = kinds;
    this.#files = files;
    this.#log = log;
  }

  /** Passes each record to the sinks that accept its kind. */
  offer(records: readonly LaneRecord[]): void {
    for (const { queue, kinds } of this.#running.values()) {
      const taken = records.filter(({ kind }) => kinds.has(kind));
      if (taken.length > 0) queue.offer(taken);
    }
  }

  /** Opens, reconfigures and closes sinks. A reconfigured sink keeps its queued records. */
  async apply(config: SinksConfig): Promise<void> {
    const wanted = Object.entries(config) as [SinkName, BufferConfig | undefined][];
    const removed = [...this.#running].filter(([name]) => config[name] === undefined);
    for (const [name] of removed) this.#running.delete(name);
    for (const [name, sinkConfig] of wanted) {
      if (sinkConfig !== undefined) await this.#open(name, sinkConfig, config);
    }
    await Promise.all(removed.map(([name, running]) => this.#remove(name, running)));
  }

  statuses(): SinkStatus[] {
    return [...this.#running.values()].map(({ queue }) => queue.status());
  }

  rows(): LedgerRow[] {
    return this.#ledger.rows([...this.#running].map(([name, { kinds }]) => ({ name, kinds })));
  }

  /** Writes queued records until the deadline, and logs the totals for each sink and record kind. */
  async close(deadlineMs = FLUSH_MS): Promise<void> {
    const sinks = [...this.#running];
    await Promise.all(sinks.map(([, { queue }]) => queue.close(deadlineMs)));
    for (const [name, { kinds }] of sinks) {
      const rows = this.#ledger.rows([{ name, kinds }]);
      for (const kind of new Set([...kinds, ...rows.map((row) => row.kind)])) {
        this.#log('info', `${kind}s to ${name}: ${describe(rows.filter((row) => row.kind === kind))}`);
      }
    }
  }

  /** Closes a sink. Records in its spool stay there until the sink is configured again. */
  async #remove(name: SinkName, { queue, kinds }: Running): Promise<void> {
    await queue.close(FLUSH_MS);
    for (const row of this.#ledger.rows([{ name, kinds }])) {
      if (row.pending > 0) this.#ledger.dropped(row, name, 'left_in_spool', row.pending);
    }
  }

  async #open(name: SinkName, config: BufferConfig, all: SinksConfig): Promise<void> {
    const running = this.#running.get(name);
    if (isDeepStrictEqual(running?.config, config)) return;
    const kinds = new Set<string>(config.kinds);
    const { sink, batch } = await this.#build(name, all);
    if (running === undefined) {
      const buffer = await this.#buffer(name, config);
      const queue = new SinkQueue(sink, buffer, batch, { name, ledger: this.#ledger, log: this.#log });
      this.#running.set(name, { queue, config, kinds });
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
    running.kinds = kinds;
  }

  async #build(name: SinkName, { loki, otlp, file }: SinksConfig): Promise<{ sink: Sink; batch: BatchOptions }> {
    if (name === 'loki' && loki !== undefined) return { sink: new LokiSink(loki, this.#files), batch: batchOf(loki) };
    if (name === 'file' && file !== undefined) return { sink: new FileSink(file, this.#files), batch: AT_ONCE };
    if (name === 'otlp' && otlp !== undefined) {
      const { OtlpSink } = await import('./sinks/otlp.ts');
      return { sink: new OtlpSink(otlp, this.#files), batch: batchOf(otlp) };
    }
    return { sink: new StdoutSink(), batch: AT_ONCE };
  }

  async #buffer(name: SinkName, config: BufferConfig): Promise<RecordBuffer> {
    const ledger = this.#ledger;
    const memory = { records: config.queue, bytes: config.queueBytes };
    if (config.spool !== undefined) {
      return Spool.open({
        ...config.spool,
        memory,
        kinds: this.#kinds,
        files: this.#files,
        dropped: (source, reason, count) => ledger.dropped(source, name, reason, count),
        recovered: (source, count) => ledger.recovered(source, name, count),
        log: this.#log,
      });
    }
    return new MemoryBuffer(memory, (records, reason) => {
      for (const record of records) ledger.dropped(record, name, reason);
    });
  }
}

function bufferOf({ queue, queueBytes, spool }: BufferConfig): Omit<BufferConfig, 'kinds'> {
  return { queue, queueBytes, spool };
}

function batchOf({ batch }: SinkConfig<'loki' | 'otlp'>): BatchOptions {
  return { records: batch.events, bytes: batch.bytes, ageMs: batch.age };
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
