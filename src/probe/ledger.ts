import type { KernelLedger } from './contract.ts';
import { defineRetained } from './retained.ts';

/** What the events of a probe have come to in its earlier runs, or in all where the probe itself counts them. */
export const EVENT_LEDGER = defineRetained<KernelLedger>(() => ({ produced: 0n, limited: 0n, lost: 0n }));
