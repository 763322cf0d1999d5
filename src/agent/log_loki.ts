import Transport from 'winston-transport';
import type { LogLokiConfig } from '#config/sinks.ts';
import { MemoryBuffer } from '#delivery/buffer.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { SinkQueue, type SinkQueueOptions } from '#delivery/sink_queue.ts';
import { LokiSink } from '#delivery/sinks/loki.ts';
import type { Files } from '#files/files.ts';

// log_shipping.ts imports this module only if the configuration ships the log.

const JOB = 'netsonde-agent';
const LEVEL = Symbol.for('level');
const BATCH = { records: 1_000, bytes: 256 * 1024, ageMs: 2_000 };
/** Limits of the queue. The oldest lines are dropped first; stderr has all lines. */
const QUEUE = { records: 2_000, bytes: 1024 * 1024 };
const DIGITS_BELOW_MILLISECOND = 6;

interface Info {
  readonly message: unknown;
  readonly [LEVEL]: string;
}

/** Ships the agent's log to Loki, one record per line, with the queue that event sinks use. */
export class LokiTransport extends Transport {
  readonly #node: string;
  readonly #queue: SinkQueue;
  /** Time of the previous line, and its number within that millisecond, which keeps such lines in order. */
  #last = { ms: 0, lines: 0 };

  /** @param log called when lines cannot be delivered */
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

  /** Sends the waiting lines, for at most the given time. */
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
