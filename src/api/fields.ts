import * as z from 'zod';

/**
 * Number of fractional digits of a second. `Date` has a resolution of milliseconds, and the kernel has a resolution of
 * nanoseconds.
 */
const MILLISECONDS = 3;
const NANOSECONDS = 9;

/** Time in RFC 3339 in UTC, with milliseconds. */
export const time = () => z.iso.datetime({ precision: MILLISECONDS });

/** Time in RFC 3339 in UTC, with nanoseconds. */
export const kernelTime = () => z.iso.datetime({ precision: NANOSECONDS });

/** Non-negative integer. */
export const count = () => z.int().min(0);

/** Cookie of a network namespace as decimal text, because a JSON number cannot represent all 64-bit integers. */
export const cookie = () => z.string().regex(/^\d{1,20}$/);

export const labels = () => z.record(z.string(), z.string()).readonly();
