/**
 * Code of a {@link BpfError}.
 * - `BPF_UNAVAILABLE`: the addon or libbpf is missing.
 * - `BPF_OPEN`, `BPF_LOAD`, `BPF_ATTACH`, `BPF_RUN`, `BPF_ITERATOR`, `BPF_MAP`, `BPF_RING`, `BPF_STATS`: the named step
 *   failed.
 * - `BPF_VERIFIER`: the kernel's verifier refused a program; `verifier` contains the last lines of its log.
 * - `BPF_CLOSED`, `BPF_BUSY`: the handle was closed, or a load or an attach is in progress.
 * - `NETNS`: entering a network namespace failed.
 * - `NETLINK`: a netlink request or subscription failed.
 * - `LOCK`: locking a file failed.
 */
export type BpfErrorCode =
  | 'BPF_UNAVAILABLE'
  | 'BPF_OPEN'
  | 'BPF_LOAD'
  | 'BPF_VERIFIER'
  | 'BPF_ATTACH'
  | 'BPF_RUN'
  | 'BPF_ITERATOR'
  | 'BPF_MAP'
  | 'BPF_RING'
  | 'BPF_STATS'
  | 'BPF_CLOSED'
  | 'BPF_BUSY'
  | 'NETNS'
  | 'NETLINK'
  | 'LOCK';

/** The only error class of this package. */
export class BpfError extends Error {
  override readonly name = 'BpfError';
  /** Operation that failed, such as 'open', 'load', 'attach' or 'dump'. */
  readonly operation: string;
  /** Subject of the operation, such as an object, a program, a map or a path. */
  readonly subject: string;
  /** Positive errno of the kernel; 0 if there is none. */
  readonly errno: number;
  /** Output of libbpf and the verifier. */
  readonly log: string;
  /** At most three lines of the verifier's log that state the reason. */
  readonly verifier: readonly string[];

  readonly code: BpfErrorCode;

  constructor(
    code: BpfErrorCode,
    message: string,
    details: { operation?: string; subject?: string; errno?: number; log?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: details.cause });
    this.code = code;
    this.operation = details.operation ?? '';
    this.subject = details.subject ?? '';
    this.errno = details.errno ?? 0;
    this.log = details.log ?? '';
    this.verifier = tellingLines(this.log);
  }
}

const EPERM = 1;
const EBADF = 9;
const EACCES = 13;
const EBUSY = 16;

const CODES: Readonly<Record<string, BpfErrorCode>> = {
  open: 'BPF_OPEN',
  load: 'BPF_LOAD',
  attach: 'BPF_ATTACH',
  plug: 'BPF_ATTACH',
  run: 'BPF_RUN',
  iterate: 'BPF_ITERATOR',
  'open ring': 'BPF_RING',
  drain: 'BPF_RING',
  watch: 'BPF_RING',
  enable: 'BPF_STATS',
};

/** Lines of the verifier's log with statistics and state, which do not state the reason. */
const NOISE =
  /^(processed \d|verification time|stack depth|mark_precise|parent |last_idx|from \d+ to \d+|\d+: safe|; )/;
const TELLING_LINES_MAX = 3;

/** Exported for tests. */
export function tellingLines(log: string): string[] {
  const begin = log.indexOf('-- BEGIN PROG LOAD LOG --');
  const end = log.indexOf('-- END PROG LOAD LOG --');
  if (begin < 0) return [];
  const lines = log
    .slice(begin, end < 0 ? undefined : end)
    .split('\n')
    .slice(1)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('libbpf:') && !NOISE.test(line));
  return lines.slice(-TELLING_LINES_MAX);
}

interface NativeFailure extends Error {
  operation: string;
  errno: number;
  subject: string;
  log: string;
}

function isNativeFailure(error: unknown): error is NativeFailure {
  return error instanceof Error && !(error instanceof BpfError) && 'operation' in error && 'errno' in error;
}

function codeOf(failure: NativeFailure, fallback: BpfErrorCode, verifier: readonly string[]): BpfErrorCode {
  if (failure.errno === EBADF && failure.log.startsWith('closed')) return 'BPF_CLOSED';
  if (failure.errno === EBUSY && failure.log.startsWith('a load')) return 'BPF_BUSY';
  if (failure.operation === 'load' && verifier.length > 0) return 'BPF_VERIFIER';
  return CODES[failure.operation] ?? fallback;
}

function explain(failure: NativeFailure, verifier: readonly string[]): string {
  if (verifier.length > 0) return `${failure.message}: ${verifier.at(-1)}`;
  // Omits libbpf's hint about the memory lock limit, which is not the cause on kernels since 5.11.
  if (failure.operation === 'load' && failure.errno === EPERM) {
    return `${failure.message} and gave no reason`;
  }
  // man 2 setns; man 5 proc, /proc/pid/ns.
  if (failure.operation === 'enter' && failure.errno === EPERM) return `${failure.message} (CAP_SYS_ADMIN is needed)`;
  if (failure.operation === 'enter' && failure.errno === EACCES) return `${failure.message} (CAP_SYS_PTRACE is needed)`;
  // The first line is the cause. Further lines are its consequences.
  const [first = ''] = failure.log.split('\n', 1);
  return first === '' ? failure.message : `${failure.message} (${first.replace('libbpf: ', '')})`;
}

/** Converts an error of the native module to a BpfError. Returns other errors unchanged. */
export function translate(error: unknown, fallback: BpfErrorCode): unknown {
  if (!isNativeFailure(error)) return error;
  const verifier = tellingLines(error.log);
  return new BpfError(codeOf(error, fallback, verifier), explain(error, verifier), {
    operation: error.operation,
    subject: error.subject,
    errno: error.errno,
    log: error.log,
    cause: error,
  });
}

/** Calls a function and converts errors of the native module. */
export function guarded<T>(fallback: BpfErrorCode, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw translate(error, fallback);
  }
}

/** Like {@link guarded}, for functions that return a promise. */
export async function guardedAsync<T>(fallback: BpfErrorCode, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw translate(error, fallback);
  }
}
