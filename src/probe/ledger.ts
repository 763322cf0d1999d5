import { defineRetained } from './retained.ts';
import type { KernelLedger } from './status.ts';

/** Event counts of a probe's earlier runs. For a probe that counts its events itself, the counts of all runs. */
export const EVENT_LEDGER = defineRetained<KernelLedger>(() => ({ produced: 0n, limited: 0n, lost: 0n }));
