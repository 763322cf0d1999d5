import type { Memories, Memory } from '#sources/memory.ts';
import type { KernelLedger } from './contract.ts';

export const NO_EVENTS: KernelLedger = { produced: 0n, limited: 0n, lost: 0n };

/** What the events of a probe have come to in its earlier runs, or in all where the probe itself counts them. */
export function ledgerOf(memories: Memories, probe: string): Memory<KernelLedger> {
  return memories.of<KernelLedger>(`ledger/${probe}`);
}
