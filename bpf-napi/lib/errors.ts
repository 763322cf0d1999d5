/**
 * Codes of {@link BpfError}.
 * - `BPF_UNAVAILABLE`: the addon or libbpf is missing.
 * - `BPF_OPEN`, `BPF_LOAD`, `BPF_ATTACH`, `BPF_RUN`, `BPF_ITERATOR`, `BPF_MAP`, `BPF_RING`, `BPF_STATS`: this operation
 *   failed.
 * - `BPF_VERIFIER`: the kernel's verifier rejected a program; `verifier` contains the reason from its log.
 * - `BPF_CLOSED`: the handle was closed.
 * - `BPF_BUSY`: a load is still in progress or, for another load, attach or detach, an attach.
 * - `NETNS`: entering a network namespace failed.
 * - `NETLINK`: a netlink request or subscription failed.
 * - `PACKETS`: opening or reading a packet ring failed.
 * - `FILTER`: libpcap is missing, or a filter expression is malformed.
 * - `LOCK`: locking a file failed.
 * - `SOCKET`: reading a property of a socket failed.
 * - `ECHO`: an ICMP echo request could not be sent.
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
  | 'PACKETS'
  | 'FILTER'
  | 'LOCK'
  | 'SOCKET'
  | 'ECHO';

/** The only error class of this package. */
export class BpfError extends Error {
  override readonly name = 'BpfError';
  /** Operation that failed, such as 'open', 'load', 'attach' or 'dump'. */
  readonly operation: string;
  /** Subject of the operation, such as an object, a program, a map or a path. */
  readonly subject: string;
  /** Positive errno; 0 if there is none. */
  readonly errno: number;
  /** Output of libbpf and the verifier. */
  readonly log: string;
  /** Up to three lines of the verifier's log that give the reason for the rejection. */
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
  enter: 'NETNS',
};

/**
 * Matches lines of the verifier's log that do not help to explain a rejection, such as statistics and register states.
 */
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

/** Capabilities that operations need: man 2 setns; man 5 proc, /proc/pid/ns; man 7 packet; man 7 icmp; man 7 netlink. */
const RIGHTS = [
  ['enter', EPERM, 'CAP_SYS_ADMIN'],
  ['enter', EACCES, 'CAP_SYS_PTRACE'],
  ['open packet socket', EPERM, 'CAP_NET_RAW'],
  ['open echo socket', EPERM, 'CAP_NET_RAW'],
  ['open echo socket', EACCES, 'CAP_NET_RAW'],
  ['subscribe', EPERM, 'CAP_NET_ADMIN'],
] as const;

function explain(failure: NativeFailure, verifier: readonly string[]): string {
  if (verifier.length > 0) return `${failure.message}: ${verifier.at(-1)}`;
  // Omits libbpf's hint about the locked memory limit, which does not apply to kernels since 5.11.
  if (failure.operation === 'load' && failure.errno === EPERM) {
    return `${failure.message} and gave no reason`;
  }
  const [, , right] =
    RIGHTS.find(([operation, errno]) => failure.operation === operation && failure.errno === errno) ?? [];
  if (right !== undefined) return `${failure.message} (${right} is needed)`;
  if (failure.operation === 'compile filter' && failure.log !== '') return failure.log;
  if (failure.operation === 'load libpcap') return `libpcap cannot be loaded: ${failure.log}`;
  // The first line contains the cause; the remaining lines are consequences of it.
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
