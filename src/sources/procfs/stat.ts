/** The fields of /proc/<pid>/stat that are needed. */
export interface ProcessStat {
  /** Command name. Bytes that are not UTF-8 become U+FFFD. */
  readonly comm: string;
  /** State as one letter. `Z` (zombie) means that the process has ended but its parent has not waited for it yet. */
  readonly state: string;
  readonly parent: number;
  /** Minor page faults of the process itself, and of the children that it has waited for. */
  readonly faults: number;
  readonly childFaults: number;
  /** Start time in clock ticks after boot. No two processes have the same process ID and start time. */
  readonly startTime: number;
}

/**
 * Field numbers as in man 5 proc. The first two fields are parsed separately because the command name may contain
 * spaces and parentheses.
 */
const FIRST_AFTER_COMM = 3;
const PARENT = 4;
const MINOR_FAULTS = 10;
const CHILD_MINOR_FAULTS = 11;
const START_TIME = 22;

/** Parses /proc/<pid>/stat (man 5 proc); returns undefined if it is truncated or malformed. */
export function parseStat(text: string): ProcessStat | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open || !text.endsWith('\n')) return undefined;
  const fields = text.slice(close + 2, -1).split(' ');
  const number = (field: number) => {
    const digits = fields[field - FIRST_AFTER_COMM] ?? '';
    return /^\d{1,15}$/.test(digits) ? Number(digits) : undefined;
  };
  const state = fields[0] ?? '';
  const parent = number(PARENT);
  const faults = number(MINOR_FAULTS);
  const childFaults = number(CHILD_MINOR_FAULTS);
  const startTime = number(START_TIME);
  if (!/^[A-Za-z]$/.test(state) || parent === undefined || startTime === undefined) return undefined;
  if (faults === undefined || childFaults === undefined) return undefined;
  const comm = Buffer.from(text.slice(open + 1, close), 'latin1').toString('utf8');
  return { comm, state, parent, faults, childFaults, startTime };
}
