import type { LaneRecord } from './record.ts';

/** Callbacks by which a sink reports the outcome of individual records during a write. */
export interface Receipt {
  delivered(records: readonly LaneRecord[]): void;
  /** Reports records that the sink will never accept. */
  rejected(records: readonly LaneRecord[], why: string): void;
}

/** Destination of records. */
export interface Sink {
  readonly name: string;
  /**
   * Resolves once all records are delivered or rejected. Must not be called concurrently.
   * @throws {Unavailable} if the sink cannot accept more records now; records without a reported outcome are written
   * again later
   */
  write(records: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Thrown if the sink cannot accept records now, but may accept them later. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
  /** Milliseconds that the sink asked the agent to wait; 0 if it did not. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
