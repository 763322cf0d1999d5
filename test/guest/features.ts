import { DEFAULT_PATHS } from '#core/paths.ts';
import { KIND } from '#sources/bpf/btf.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { OBJECTS } from '../support/kernel.ts';

/** Features of the running kernel, read from its types: checks depend on them. */
export interface Features {
  /** A walk can go over all namespaces (5.17), and sum their per-CPU counters (5.19). */
  readonly hasPass: boolean;
  /** Drops have reasons (5.17). */
  readonly dropReasons: boolean;
  /** Resets have reasons (6.10). */
  readonly resetReasons: boolean;
  /** A program may keep state with a socket (5.11). */
  readonly socketStorage: boolean;
  /** The process that makes a block request is known (6.5), not only the one that hands it over. */
  readonly blockOwner: boolean;
}

export function kernelFeatures(): Features {
  const bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
  const btf = bpf.btf();
  return {
    hasPass: bpf.hasHelper('loop') && bpf.hasHelper('map_lookup_percpu_elem'),
    dropReasons: (btf.tracepointArguments('kfree_skb') ?? 0) >= 3,
    resetReasons: (btf.tracepointArguments('tcp_send_reset') ?? 0) >= 3,
    socketStorage: btf.find(KIND.function, 'bpf_sk_storage_get_tracing') !== undefined,
    blockOwner: btf.tracepointArguments('block_io_start') !== undefined,
  };
}
