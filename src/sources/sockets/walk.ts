import type { BpfMap } from 'bpf-napi';
import { type Layout, tcpProgress } from '#bpf/generated/tcpsummary.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { LoadedObject } from '../bpf/source.ts';
import type { RowsWalk } from './snapshot.ts';

export const SLICE_US = 340;
export const WALK_MS = 100;
/** Maximum number of attempts at a walk. A walk is repeated if it found a chain that leads into another chain. */
export const WALKS_MAX = 3;

/** Maps that contain the rows of closed sockets. A walk without shared rows does not create them. */
export const FLOW_MAPS = [
  'flow_rows',
  'flow_rest',
  'flow_rest_used',
  'flow_taken',
  'flow_allowed',
  'flow_log',
  'flow_log_head',
  'flow_log_tail',
  'flow_log_shares',
] as const satisfies readonly Layout['map'][];

export type FlowMap = (typeof FLOW_MAPS)[number];

/** Rows that count closed sockets, to which a walk adds the sockets that are still open (`src/probe/tcp_ends.ts`). */
export interface SharedRows {
  readonly maps: Readonly<Record<FlowMap, BpfMap>>;
  /** The node's namespace, in which each cgroup has its own rows. */
  readonly node: NetnsId | undefined;
  /** Kinds of rows that are currently needed, as bits of `tcpRowsWanted`. */
  readonly wanted: number;
  /** Called at the end of each walk, before the next walk can change the rows. */
  walked(walk: RowsWalk): void;
}

/** Writes the owners of namespaces into an object until the result is disposed (src/bpf/common/share.bpf.h). */
export type ListOwners = (object: LoadedObject<Layout>) => Disposable;

interface Walk {
  /** Sequence number of the walk; never 0. */
  readonly walk: number;
  /** True to read only listening sockets that have dropped a segment. */
  readonly listenersOnly: boolean;
  /** Kinds of shared rows to update, as bits of `tcpRowsWanted`. */
  readonly rows?: number;
}

interface Pace {
  /**
   * Target duration of one call in microseconds. A call occupies its CPU, and may take a little longer to finish its
   * current chain.
   */
  readonly sliceUs: number;
  /** Maximum duration of a whole walk in milliseconds. */
  readonly walkMs: number;
}

/**
 * Walks all sockets in slices.
 * @param progress receives a struct tcp_progress
 * @throws if the walk takes too long or kernel memory could not be read
 */
export async function walkSockets(
  object: LoadedObject<Layout>,
  { walk, listenersOnly, rows = 0 }: Walk,
  { sliceUs, walkMs }: Pace,
  progress: Uint8Array,
  cycle: Cycle,
): Promise<void> {
  const args = BigUint64Array.of(BigInt(walk), BigInt(sliceUs) * 1000n, listenersOnly ? 1n : 0n, BigInt(rows));
  const at = new DataView(progress.buffer, progress.byteOffset);
  for (;;) {
    const done = object.run('tcp_count', args) !== 0;
    object.map('tcp_progress_cell').readMapped(progress, tcpProgress.SIZE);
    if (tcpProgress.unreadable(at, 0) > 0) throw new Error('kernel memory of TCP sockets could not be read');
    if (done) return;
    // Measured by the BPF program, so pauses between calls are not included.
    if (Number(tcpProgress.total(at, 0)) > walkMs * 1e6) {
      throw new Error(`${tcpProgress.sockets(at, 0)} TCP sockets took ${walkMs} ms, and there are more`);
    }
    await cycle.pause();
  }
}

/** Visits entries that this walk has written, and deletes entries of earlier walks. */
export function visitWalked(
  map: BpfMap,
  walk: number,
  walkOf: (view: DataView, at: number) => number,
  visit: (view: DataView, key: number, value: number) => void,
): void {
  const { count, view, keyAt, valueAt } = map.dump();
  for (let index = 0; index < count; index++) {
    const key = keyAt(index);
    const value = valueAt(index);
    if (walkOf(view, value) === walk) visit(view, key, value);
    else map.delete(new Uint8Array(view.buffer, key, map.keyBytes));
  }
}
