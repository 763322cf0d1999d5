import { BpfError, guarded, guardedAsync } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type EchoResult, type NativeStats, native } from './native.ts';

/** Returns the version of the loaded libbpf, for example `v1.1`. */
export function libbpfVersion(): string {
  return native().libbpfVersion;
}

/**
 * Calls `inside` while this thread is in the network namespace at `path` (`/proc/<pid>/ns/net`, or a mount created by
 * `ip netns`). `inside` must be synchronous because promise callbacks run only after the thread has returned. Requires
 * CAP_SYS_ADMIN. Aborts the process if the thread cannot return to its namespace.
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
 * Moves this worker thread permanently to the network namespace at `path`. Sockets that the thread opens belong to this
 * namespace. Work in libuv's pool (`dns.lookup`, `fs.promises`) does not, because the threads of the pool belong to the
 * process. `withNetns` can still enter other namespaces temporarily. Requires CAP_SYS_ADMIN.
 * @throws {BpfError} NETNS (EINVAL on the main thread, from which all new threads inherit the namespace)
 */
export function enterNetns(path: string): void {
  guarded('NETNS', () => native().enterNetns(path));
}

/**
 * Returns the cookie of this thread's network namespace. Cookies are unique until reboot. Since 5.12, the kernel
 * assigns the cookie when it creates the namespace; before, on the first request.
 */
export function netnsCookie(): bigint {
  return guarded('NETNS', () => native().netnsCookie());
}

/**
 * Sends an ICMP echo request in this thread's network namespace, and waits for the reply or an ICMP error about it.
 * Blocks the thread. Requires CAP_NET_RAW, unless net.ipv4.ping_group_range of the namespace permits it.
 * @param address IPv4 or IPv6 address
 * @param payloadBytes length of the data after the header of 8 bytes
 * @throws {BpfError} ECHO, with the kernel's errno if the request could not be sent
 */
export function echo(address: string, payloadBytes: number, timeoutMs: number): EchoResult {
  return guarded('ECHO', () => native().echo(address, payloadBytes, timeoutMs));
}

export interface NetlinkAnswer {
  /** Consecutive messages with their headers, each aligned to four bytes, without NLMSG_DONE. */
  readonly messages: Uint8Array;
  /** True if the kernel's tables changed during the dump (NLM_F_DUMP_INTR). Rows may then be missing or duplicated. */
  readonly interrupted: boolean;
}

/**
 * Sends a netlink request in this thread's network namespace and returns the whole response. Blocks until the response
 * has arrived, for at most two seconds per datagram.
 * @param protocol for example NETLINK_ROUTE 0, NETLINK_SOCK_DIAG 4, NETLINK_NETFILTER 12
 * @param request message with its header; the response must have the same nlmsg_seq
 * @param bytesMax maximum size of the response
 * @throws {BpfError} NETLINK, with the kernel's errno
 */
export function netlinkDump(protocol: number, request: Uint8Array, bytesMax: number): NetlinkAnswer {
  return guarded('NETLINK', () => native().netlinkDump(protocol, request, bytesMax));
}

/**
 * Like `netlinkDump`, for long responses. Sends the request immediately in this thread's network namespace and receives
 * the response in a worker thread. The socket keeps the namespace alive until the promise is settled. `withNetns`
 * rejects promises, so the promise must be wrapped in an object to be returned from it.
 * @throws {BpfError} as a rejection: NETLINK, with the kernel's errno
 */
export function netlinkDumpAsync(protocol: number, request: Uint8Array, bytesMax: number): Promise<NetlinkAnswer> {
  return guardedAsync('NETLINK', () => native().netlinkDumpAsync(protocol, request, bytesMax));
}

export type SystemCall = 'bpf' | 'setns' | 'perf_event_open' | 'socket(AF_NETLINK)';

/**
 * Returns the system calls that are blocked by a seccomp filter or a security module. Tries each call with arguments
 * that have no effect. Does not need any capability, even for `bpf`.
 * @throws {BpfError} BPF_UNAVAILABLE
 */
export function refusedCalls(): readonly SystemCall[] {
  return native().refusedCalls() as SystemCall[];
}

/**
 * Returns the difference between the wall clock and bpf_ktime_get_ns() in nanoseconds. It changes when the wall clock
 * is set.
 */
export function clockOffset(): bigint {
  return native().clockOffset();
}

/** Returns the kernel's HZ, the number of jiffies per second. */
export function jiffiesPerSecond(): number {
  return guarded('BPF_UNAVAILABLE', () => native().jiffiesPerSecond());
}

/** Process at the other end of a Unix socket, as of when it connected. */
export interface PeerCredentials {
  /** ID of the process in the PID namespace of this process; 0 if it is not visible there. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Returns the process at the other end of a connected Unix socket (SO_PEERCRED). The kernel vouches for it.
 * @throws {BpfError} SOCKET, for example ENOTSOCK
 */
export function peerCredentials(fd: number): PeerCredentials {
  return guarded('SOCKET', () => native().peerCredentials(fd));
}

/**
 * Makes the kernel measure the run time of all BPF programs while at least one instance is open, which adds about 60 ns
 * to each run. The measurement also stops when the process ends.
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
