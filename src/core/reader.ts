/** How well something is read from the kernel now. */
export interface ReaderHealth {
  /** What reads the kernel now: `pass`, `files`, `netlink`, a hook. */
  readonly reader: string;
  /** Why it is not the better reader that there is elsewhere; undefined where it is. The probe is healthy all the same. */
  readonly note?: string | undefined;
  /** What does not run, and why; empty is healthy. */
  readonly degraded: readonly string[];
}

/** The machine lacks something. The message names it, and reaches the operator as it is. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}

/** The machine lacks something that may come while we run, such as a module of the kernel. */
export class NotYet extends Unsupported {
  /** Whether it has come. Costs little, and never throws. */
  readonly isThere: () => boolean;

  constructor(message: string, isThere: () => boolean) {
    super(message);
    this.isThere = isThere;
  }
}
