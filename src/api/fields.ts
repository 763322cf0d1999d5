import * as z from 'zod';

/** Digits of a fraction of a second: `Date` gives milliseconds, the kernel nanoseconds. */
const MILLISECONDS = 3;
const NANOSECONDS = 9;

/** A moment, in RFC 3339 in UTC. */
export const time = () => z.iso.datetime({ precision: MILLISECONDS });

/** A moment as above, to the nanosecond. */
export const kernelTime = () => z.iso.datetime({ precision: NANOSECONDS });

/** A number of things, from zero. */
export const count = () => z.int().min(0);

/** Cookie of a network namespace, in decimal: it may take all 64 bits. */
export const cookie = () => z.string().regex(/^\d{1,20}$/);

export const labels = () => z.record(z.string(), z.string()).readonly();
