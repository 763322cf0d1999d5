import Transport from 'winston-transport';
import type { LogLokiConfig } from '#config/sinks.ts';
import { MemoryBuffer } from '#delivery/buffer.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { SinkQueue, type SinkQueueOptions } from '#delivery/sink_queue.ts';
import { LokiSink } from '#delivery/sinks/loki.ts';
import type { Files } from '#files/files.ts';

// This module is loaded only if the configuration enables log shipping (log_shipping.ts).

const JOB = 'netsonde-agent';
const LEVEL = Symbol.for('level');
const BATCH = { records: 1_000, bytes: 256 * 1024, ageMs: 2_000 };
/** Limits of the queue. The oldest messages are dropped first. All messages are still written to stderr. */
const QUEUE = { records: 2_000, bytes: 1024 * 1024 };
const DIGITS_BELOW_MILLISECOND = 6;

interface Info {
  readonly message: unknown;
  readonly [LEVEL]: string;
}

/** Ships the agent's log to Loki, one record per message, through the same kind of queue as the event sinks. */
export class LokiTransport extends Transport {
  readonly #node: string;
  readonly #queue: SinkQueue;
  /**
   * Time of the previous message, and its index among the messages of the same millisecond. The index becomes part of
   * the timestamp, to preserve the order of these messages.
   */
  #last = { ms: 0, lines: 0 };

  /** @param log called when messages cannot be delivered */
  constructor(config: LogLokiConfig, node: string, files: Files, log: SinkQueueOptions['log']) {
    super();
    this.#node = node;
    const sink = new LokiSink({ ...config, structuredMetadata: false, compress: true }, files, { job: JOB });
    const ledger = new Ledger();
    const buffer = new MemoryBuffer(QUEUE, (records, reason) => {
      for (const record of records) ledger.dropped(record, sink.name, reason);
    });
    this.#queue = new SinkQueue(sink, buffer, BATCH, { name: sink.name, what: 'log lines', ledger, log });
  }

  override log(info: Info, next: () => void): void {
    this.#queue.offer([this.#record(info)]);
    next();
  }

  /** Sends the queued messages, and gives up after `deadlineMs`. */
  flush(deadlineMs: number): Promise<void> {
    return this.#queue.close(deadlineMs);
  }

  #record({ message, [LEVEL]: level }: Info): LaneRecord {
    const ms = Date.now();
    this.#last = { ms, lines: ms === this.#last.ms ? this.#last.lines + 1 : 0 };
    const line = String(message);
    return {
      kind: 'log',
      probe: '',
      timeNs: `${ms}${String(this.#last.lines).padStart(DIGITS_BELOW_MILLISECOND, '0')}`,
      severity: 'info',
      stream: { node: this.#node, level },
      metadata: {},
      json: line,
      bytes: Buffer.byteLength(line),
    };
  }
}
