import type { LaneRecord } from './record.ts';

/** Callbacks by which a sink reports on single records while a write is under way. */
export interface Receipt {
  delivered(records: readonly LaneRecord[]): void;
  /** Reports records that the sink will never take. */
  rejected(records: readonly LaneRecord[], why: string): void;
}

/** Destination of finished records. */
export interface Sink {
  readonly name: string;
  /**
   * Resolves once the records have arrived, except for the rejected ones. One call at a time.
   * @throws {Unavailable} where the sink can take nothing more now: records without a receipt are offered again later
   */
  write(records: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Thrown when a sink cannot take records now, for a reason that may pass. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
  /** Milliseconds that the sink asked to be left alone. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
