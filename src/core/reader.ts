/** State of a kernel reader. */
export interface ReaderHealth {
  /** Interface through which the kernel is currently read: `pass`, `files`, `netlink` or a hook. */
  readonly reader: string;
  /** Why a better interface is not used; undefined if the best one is used. The probe is healthy in both cases. */
  readonly note?: string | undefined;
  /** Parts of the reader that do not run, each with the reason; empty if all parts run. */
  readonly degraded: readonly string[];
}

/** Thrown if the machine lacks a feature. The message names the feature and is shown to operators. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}

/** Thrown if the machine lacks a feature that may become available while the agent runs, such as a kernel module. */
export class NotYet extends Unsupported {
  /** Returns whether the feature is available now. The check is cheap and never throws. */
  readonly isThere: () => boolean;

  constructor(message: string, isThere: () => boolean) {
    super(message);
    this.isThere = isThere;
  }
}
