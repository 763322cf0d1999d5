import { BpfError, guarded, guardedAsync } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativeStats, native } from './native.ts';

/** Returns the version of the loaded libbpf: `v1.1`. */
export function libbpfVersion(): string {
  return native().libbpfVersion;
}

/**
 * Runs `inside` with this thread in the network namespace at `path` (`/proc/<pid>/ns/net`, a mount of
 * `ip netns`) and returns. Only synchronous work is inside, not later work of a promise.
 * Needs CAP_SYS_ADMIN. If the return fails, the process aborts.
 * @throws {BpfError} NETNS; whatever `inside` throws
 */
export function withNetns<T>(path: string, inside: () => T): T {
  return guarded('NETNS', () =>
    native().withNetns(path, () => {
      const result = inside();
      if (result instanceof Promise) throw new BpfError('NETNS', 'withNetns: the function must not be async');
      return result;
    }),
  );
}

/**
 * Moves this worker thread into the network namespace at `path` for the rest of its life; only `withNetns` leads
 * back. Sockets that the thread opens are inside. Work on libuv's pool is not (`dns.lookup`, `fs.promises`):
 * its threads belong to the process. Needs CAP_SYS_ADMIN.
 * @throws {BpfError} NETNS; with EINVAL on the main thread, which every other thread starts from
 */
export function enterNetns(path: string): void {
  guarded('NETNS', () => native().enterNetns(path));
}

/** Returns the cookie of this thread's network namespace, unique until reboot (since 5.12 set when the namespace is created). */
export function netnsCookie(): bigint {
  return guarded('NETNS', () => native().netnsCookie());
}

export interface NetlinkAnswer {
  /** The messages one after the other, each with its header, aligned to four bytes; NLMSG_DONE is left out. */
  readonly messages: Uint8Array;
  /** The kernel's tables changed during the dump (NLM_F_DUMP_INTR): rows may be missing or doubled. */
  readonly interrupted: boolean;
}

/**
 * Sends one netlink request in this thread's network namespace and collects the whole answer. Blocks until it has
 * arrived, at most two seconds for each part of it.
 * @param protocol NETLINK_ROUTE 0, NETLINK_SOCK_DIAG 4, NETLINK_NETFILTER 12
 * @param request a message with its header; its nlmsg_seq is checked in the answer
 * @param bytesMax refuses a longer answer
 * @throws {BpfError} NETLINK, with the kernel's errno
 */
export function netlinkDump(protocol: number, request: Uint8Array, bytesMax: number): NetlinkAnswer {
  return guarded('NETLINK', () => native().netlinkDump(protocol, request, bytesMax));
}

/**
 * The same for a long answer: sends at once, in this thread's network namespace, and collects off the event loop. Until the
 * promise is settled a socket keeps the namespace alive. In `withNetns` the promise must be wrapped to get out.
 * @throws {BpfError} as a rejection: NETLINK, with the kernel's errno
 */
export function netlinkDumpAsync(protocol: number, request: Uint8Array, bytesMax: number): Promise<NetlinkAnswer> {
  return guardedAsync('NETLINK', () => native().netlinkDumpAsync(protocol, request, bytesMax));
}

export type SystemCall = 'bpf' | 'setns' | 'perf_event_open' | 'socket(AF_NETLINK)';

/**
 * Returns the system calls that a seccomp filter or a security module refuses. It makes each call in a way that changes nothing. `bpf`
 * is tested even without CAP_BPF.
 * @throws {BpfError} BPF_UNAVAILABLE
 */
export function refusedCalls(): readonly SystemCall[] {
  return native().refusedCalls() as SystemCall[];
}

/** Returns the nanoseconds to add to a bpf_ktime_get_ns() for wall-clock time. They change when the clock is set. */
export function clockOffset(): bigint {
  return native().clockOffset();
}

/** Returns the kernel's HZ: jiffies in a second. */
export function jiffiesPerSecond(): number {
  return guarded('BPF_UNAVAILABLE', () => native().jiffiesPerSecond());
}

/**
 * While one of these is open the kernel measures the run time of every BPF program (about 60 ns a run).
 * Closing the last one, or the death of the process, switches it off.
 */
export class BpfStats implements Disposable {
  readonly #native: NativeStats;

  /** @throws {BpfError} BPF_STATS */
  constructor() {
    this.#native = guarded('BPF_STATS', () => new (native().Stats)());
    watchForLeak(this, this.#native, 'BPF statistics');
  }

  close(): void {
    closed(this);
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
