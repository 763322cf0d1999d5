import type { KernelLedger } from './contract.ts';
import { defineRetained } from './retained.ts';

/** Event counts of a probe's earlier runs, or of all runs where the probe itself counts its events. */
export const EVENT_LEDGER = defineRetained<KernelLedger>(() => ({ produced: 0n, limited: 0n, lost: 0n }));
