import type { EventLine } from '#events/event_line.ts';

/** What a sink says of single events of a write, before it is through or fails. */
export interface Receipt {
  delivered(events: readonly EventLine[]): void;
  /** The sink will never take these. */
  rejected(events: readonly EventLine[], why: string): void;
}

/** Takes finished events away. */
export interface Sink {
  readonly name: string;
  /**
   * Resolves once the events are where they belong, but for those it rejected. One call at a time.
   * @throws {Unavailable} where it can take nothing more now: what has no receipt is offered again, later
   */
  write(events: readonly EventLine[], receipt: Receipt, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** A sink cannot take events now, for a reason that may pass. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
  /** The sink asked to be left alone for so long. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
