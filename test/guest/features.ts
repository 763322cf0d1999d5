import { readFileSync } from 'node:fs';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { KIND } from '#sources/bpf/btf.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { OBJECTS } from '../support/kernel.ts';

/** Features of the running kernel, derived from its BTF. The checks depend on them. */
export interface Features {
  /** Programs can iterate over all namespaces (5.17) and read per-CPU counters of all CPUs (5.19). */
  readonly hasPass: boolean;
  /** The kernel reports drop reasons (5.17). */
  readonly dropReasons: boolean;
  /** The kernel reports the socket that should have received a dropped packet (6.11). */
  readonly dropReceivers: boolean;
  /** The kernel reports reset reasons (6.10). */
  readonly resetReasons: boolean;
  /** Programs can use socket storage (5.11). */
  readonly socketStorage: boolean;
  /**
   * The kernel reports the process that caused a block request (6.5). Older kernels report only the process that
   * submitted it.
   */
  readonly blockOwner: boolean;
  /** Atomic operations of programs can return the old value (5.12). */
  readonly fetchingAtomics: boolean;
  /** Programs can call a function repeatedly (5.17). */
  readonly loops: boolean;
  /** The kernel was built with Multipath TCP. */
  readonly multipath: boolean;
}

export function kernelFeatures(): Features {
  const bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
  const btf = bpf.btf();
  return {
    hasPass: bpf.hasHelper('loop') && bpf.hasHelper('map_lookup_percpu_elem'),
    dropReceivers: (btf.tracepointArguments('kfree_skb') ?? 0) >= 4,
    dropReasons: (btf.tracepointArguments('kfree_skb') ?? 0) >= 3,
    resetReasons: (btf.tracepointArguments('tcp_send_reset') ?? 0) >= 3,
    socketStorage: btf.find(KIND.function, 'bpf_sk_storage_get_tracing') !== undefined,
    blockOwner: btf.tracepointArguments('block_io_start') !== undefined,
    // BTF does not show whether these operations exist, so the check looks for the helper that was added next (5.13).
    fetchingAtomics: bpf.hasHelper('for_each_map_elem'),
    loops: bpf.hasHelper('loop'),
    multipath: btf.find(KIND.struct, 'mptcp_sock') !== undefined,
  };
}

/**
 * Returns whether another task can run on the CPU while a program runs at a tracepoint (7.0). Such kernels guard
 * tracepoints with SRCU and not by disabling preemption (include/linux/tracepoint.h, `__DECLARE_TRACE`). The symbol also
 * exists up to 6.12, before the fast variant of SRCU (6.15).
 */
export function tracepointsArePreemptible(): boolean {
  const hasFastSrcu = new BpfSource(OBJECTS, DEFAULT_PATHS.sys).btf().find(KIND.struct, 'srcu_ctr') !== undefined;
  return hasFastSrcu && readFileSync('/proc/kallsyms', 'utf8').includes(' tracepoint_srcu\n');
}
