import * as z from 'zod';

/** Digits after the decimal point of a second. `Date` has milliseconds, the kernel has nanoseconds. */
const MILLISECONDS = 3;
const NANOSECONDS = 9;

/** Time in RFC 3339 in UTC, with milliseconds. */
export const time = () => z.iso.datetime({ precision: MILLISECONDS });

/** Time in RFC 3339 in UTC, with nanoseconds. */
export const kernelTime = () => z.iso.datetime({ precision: NANOSECONDS });

/** Number of things, at least 0. */
export const count = () => z.int().min(0);

/** Cookie of a network namespace. Decimal text, because a JSON number cannot hold all 64-bit integers. */
export const cookie = () => z.string().regex(/^\d{1,20}$/);

export const labels = () => z.record(z.string(), z.string()).readonly();
