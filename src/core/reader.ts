/** State of a kernel reader. */
export interface ReaderHealth {
  /** How the kernel is read now: `pass`, `files`, `netlink` or a hook. */
  readonly reader: string;
  /** Why a better way of reading is not used; undefined if the best one is. The probe is healthy in both cases. */
  readonly note?: string | undefined;
  /** Parts that do not run, with the reasons; empty if all run. */
  readonly degraded: readonly string[];
}

/** The machine lacks a feature. Operators see the message, which names it. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}

/** The machine lacks a feature that may be added while the agent runs, such as a kernel module. */
export class NotYet extends Unsupported {
  /** Returns whether the feature is available now. Cheap, and never throws. */
  readonly isThere: () => boolean;

  constructor(message: string, isThere: () => boolean) {
    super(message);
    this.isThere = isThere;
  }
}
