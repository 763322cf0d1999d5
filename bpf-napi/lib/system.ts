import { BpfError, guarded, guardedAsync } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativeStats, native } from './native.ts';

/** Returns the version of the loaded libbpf, for example `v1.1`. */
export function libbpfVersion(): string {
  return native().libbpfVersion;
}

/**
 * Calls `inside` while this thread is in the network namespace at `path` (`/proc/<pid>/ns/net`, or a mount of `ip
 * netns`). `inside` must be synchronous because callbacks of promises run after the thread has returned. Needs
 * CAP_SYS_ADMIN. The process is aborted if the thread cannot return to its namespace.
 * @throws {BpfError} NETNS; errors of `inside`
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
 * Moves this worker thread to the network namespace at `path` permanently. Sockets that the thread opens are in this
 * namespace. Work in libuv's pool (`dns.lookup`, `fs.promises`) is not in this namespace because the pool's
 * threads belong to the process. `withNetns` still enters other namespaces temporarily. Needs CAP_SYS_ADMIN.
 * @throws {BpfError} NETNS; with EINVAL on the main thread, from which all new threads inherit the namespace
 */
export function enterNetns(path: string): void {
  guarded('NETNS', () => native().enterNetns(path));
}

/**
 * Returns the cookie of this thread's network namespace, which is unique until reboot. Since 5.12, the cookie is
 * assigned when the namespace is created.
 */
export function netnsCookie(): bigint {
  return guarded('NETNS', () => native().netnsCookie());
}

export interface NetlinkAnswer {
  /** Consecutive messages with their headers, each aligned to four bytes, without NLMSG_DONE. */
  readonly messages: Uint8Array;
  /** True if the kernel's tables changed during the dump (NLM_F_DUMP_INTR), so rows may be missing or duplicated. */
  readonly interrupted: boolean;
}

/**
 * Sends a netlink request in this thread's network namespace and returns the complete response. Blocks until the
 * response has arrived, with a timeout of two seconds for each part.
 * @param protocol for example NETLINK_ROUTE 0, NETLINK_SOCK_DIAG 4, NETLINK_NETFILTER 12
 * @param request message with its header; responses must have its nlmsg_seq
 * @param bytesMax maximum size of the response
 * @throws {BpfError} NETLINK, with the kernel's errno
 */
export function netlinkDump(protocol: number, request: Uint8Array, bytesMax: number): NetlinkAnswer {
  return guarded('NETLINK', () => native().netlinkDump(protocol, request, bytesMax));
}

/**
 * Like `netlinkDump`, for long responses. Sends the request immediately in this thread's network namespace and
 * receives the response in a worker thread. The socket keeps the namespace alive until the promise is settled. To
 * return the promise from `withNetns`, it must be wrapped in an object.
 * @throws {BpfError} as a rejection: NETLINK, with the kernel's errno
 */
export function netlinkDumpAsync(protocol: number, request: Uint8Array, bytesMax: number): Promise<NetlinkAnswer> {
  return guardedAsync('NETLINK', () => native().netlinkDumpAsync(protocol, request, bytesMax));
}

export type SystemCall = 'bpf' | 'setns' | 'perf_event_open' | 'socket(AF_NETLINK)';

/**
 * Returns the system calls that a seccomp filter or a security module refuses. Tries each call with arguments that
 * have no effect. Tests `bpf` even without CAP_BPF.
 * @throws {BpfError} BPF_UNAVAILABLE
 */
export function refusedCalls(): readonly SystemCall[] {
  return native().refusedCalls() as SystemCall[];
}

/**
 * Returns the nanoseconds to add to bpf_ktime_get_ns() to get the wall-clock time. The offset changes when the wall
 * clock is stepped.
 */
export function clockOffset(): bigint {
  return native().clockOffset();
}

/** Returns the kernel's HZ, the number of jiffies per second. */
export function jiffiesPerSecond(): number {
  return guarded('BPF_UNAVAILABLE', () => native().jiffiesPerSecond());
}

/**
 * Makes the kernel measure the run time of all BPF programs while at least one instance is open, which costs about 60
 * ns per run. The measurement also stops when the process ends.
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
