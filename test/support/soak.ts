/** Maximum time until a written configuration is applied, on an otherwise idle machine. */
export const APPLIED_WITHIN_MS = 1_000;
