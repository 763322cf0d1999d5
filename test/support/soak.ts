/** On a machine with nothing else to do, a configuration is applied so long after it was written. */
export const APPLIED_WITHIN_MS = 1_000;
