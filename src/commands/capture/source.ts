import type { CaptureFile, SourceCounts } from './file.ts';

/**
 * - `idle`: no packet is waiting.
 * - `more`: more packets may be waiting.
 * - `full`: the file has no room for the next packet.
 */
export type Pumped = 'idle' | 'more' | 'full';

/** A source of packets, such as the ring buffer of a namespace. */
export interface Source extends Disposable {
  /** Name of the Pod or namespace. */
  readonly name: string;
  /** Whether all devices of the namespace have been removed, as when a Pod ends. */
  readonly isGone: boolean;
  /** Whether every packet that the source has received was either dropped by the kernel or read. */
  readonly isDrained: boolean;
  /** Writes waiting packets. @throws {OutputFailure} */
  pump(file: CaptureFile): Promise<Pumped>;
  /** Calls a function once when packets may be waiting, but not before the current turn of the event loop ends. */
  whenReady(ready: () => void): void;
  /** Ends the reception. Packets that were received before can still be written. */
  stop(): void;
  counts(): SourceCounts;
}
