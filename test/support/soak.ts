/** Maximum time from writing a configuration until it is applied, on an otherwise idle machine. */
export const APPLIED_WITHIN_MS = 1_000;
