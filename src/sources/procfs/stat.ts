/** Fields of /proc/<pid>/stat that we use. */
export interface ProcessStat {
  /** Any bytes; bytes that are not UTF-8 become U+FFFD. */
  readonly comm: string;
  /** One letter: `Z` is a process that has ended and that its parent has not waited for yet. */
  readonly state: string;
  readonly parent: number;
  /** Minor page faults of the process, and of the children that it waited for. */
  readonly faults: number;
  readonly childFaults: number;
  /** Clock ticks after boot; together with the process number it is never reused. */
  readonly startTime: number;
}

/** Numbers of the fields in man 5 proc. The first two are parsed apart: the command's name may hold blanks and parentheses. */
const FIRST_AFTER_COMM = 3;
const PARENT = 4;
const MINOR_FAULTS = 10;
const CHILD_MINOR_FAULTS = 11;
const START_TIME = 22;

/** Parses /proc/<pid>/stat (man 5 proc). Returns undefined where it is cut short or malformed. */
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
