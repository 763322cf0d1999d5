import { defineRetained } from './retained.ts';
import type { KernelLedger } from './status.ts';

/** Event counts from earlier runs of a probe. If the probe counts its events itself, counts from all runs. */
export const EVENT_LEDGER = defineRetained<KernelLedger>(() => ({ produced: 0n, limited: 0n, lost: 0n }));
