import type { ReachBed } from './bed.ts';

/** One fault, and the question of a user who is affected by it. */
export interface ReachScenario {
  readonly name: string;
  /** Causes the fault. */
  readonly provoke?: (bed: ReachBed) => void;
  /** Ends the fault. */
  readonly mend?: (bed: ReachBed) => void;
  /** Arguments of `netsonde reach`, without `--from`. */
  readonly args: readonly string[];
}
