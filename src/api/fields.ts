import * as z from 'zod';

/**
 * Number of fractional digits of a second. `Date` has millisecond resolution, and the kernel has nanosecond resolution.
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

/** Names of the peer of a record. */
export const dnsNames = () =>
  z
    .array(z.string())
    .readonly()
    .exactOptional()
    .describe(
      'Names under which the Pod has resolved the address of the server, according to the probe `dns`, in the order in which it first did; at most 8. Absent if there are none, if the Pod is the server, or if the peer has another name.',
    );
