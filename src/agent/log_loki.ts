import Transport from 'winston-transport';
import type { LogLokiConfig } from '#config/sinks.ts';
import { MemoryBuffer } from '#delivery/buffer.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { SinkQueue, type SinkQueueOptions } from '#delivery/sink_queue.ts';
import { LokiSink } from '#delivery/sinks/loki.ts';
import type { Files } from '#files/files.ts';

// Loaded only where it is configured.

const JOB = 'netsonde-agent';
const LEVEL = Symbol.for('level');
const BATCH = { records: 1_000, bytes: 256 * 1024, ageMs: 2_000 };
/** Limit of the lines that wait; beyond it the oldest are dropped. All of them are on standard error as well. */
const QUEUE = { records: 2_000, bytes: 1024 * 1024 };
const DIGITS_BELOW_MILLISECOND = 6;

interface Info {
  readonly message: unknown;
  readonly [LEVEL]: string;
}

/** Ships the agent's own log, a line a record, as the sinks ship theirs. */
export class LokiTransport extends Transport {
  readonly #node: string;
  readonly #queue: SinkQueue;
  /** Time of the line before: lines of the same millisecond stay in order. */
  #last = { ms: 0, lines: 0 };

  /** @param log called for lines that do not arrive */
  constructor(config: LogLokiConfig, node: string, files: Files, log: SinkQueueOptions['log']) {
    super();
    this.#node = node;
    const sink = new LokiSink({ ...config, structuredMetadata: false, compress: true }, files, { job: JOB });
    const ledger = new Ledger();
    const buffer = new MemoryBuffer(QUEUE, (records, reason) => {
      for (const record of records) ledger.dropped(record, sink.name, reason);
    });
    this.#queue = new SinkQueue(sink, buffer, BATCH, { name: sink.name, what: 'lines of the log', ledger, log });
  }

  override log(info: Info, next: () => void): void {
    this.#queue.offer([this.#record(info)]);
    next();
  }

  /** Sends what is left, within the given time. */
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
