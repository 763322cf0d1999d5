import type { LaneRecord } from './record.ts';

/** What a sink says of single records of a write, before it is through or fails. */
export interface Receipt {
  delivered(records: readonly LaneRecord[]): void;
  /** The sink will never take these. */
  rejected(records: readonly LaneRecord[], why: string): void;
}

/** Takes finished records away. */
export interface Sink {
  readonly name: string;
  /**
   * Resolves once the records are where they belong, but for those it rejected. One call at a time.
   * @throws {Unavailable} where it can take nothing more now: what has no receipt is offered again, later
   */
  write(records: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** A sink cannot take records now, for a reason that may pass. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
  /** The sink asked to be left alone for so long. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
