/** State of a reader of the kernel. */
export interface ReaderHealth {
  /** Current way of reading: `pass`, `files`, `netlink`, or a hook. */
  readonly reader: string;
  /** Why a better reader is not used; undefined where the best one is. The probe is healthy all the same. */
  readonly note?: string | undefined;
  /** Parts that do not run, with the reasons; empty when healthy. */
  readonly degraded: readonly string[];
}

/** The machine lacks something. The message names it, and reaches the operator as it is. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}

/** The machine lacks something that may be added while the agent runs, such as a module of the kernel. */
export class NotYet extends Unsupported {
  /** Returns whether it was added. Costs little, and never throws. */
  readonly isThere: () => boolean;

  constructor(message: string, isThere: () => boolean) {
    super(message);
    this.isThere = isThere;
  }
}
