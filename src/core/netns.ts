import type { Counter } from './counter.ts';

/**
 * ID of a network namespace. It is the cookie of the namespace, which is unique until reboot, or its inode number on
 * kernels before 5.12.
 */
export type NetnsId = Counter & { readonly __brand: 'NetnsId' };

/** ID that stands for all unlisted namespaces together. No cookie is 0. */
export const UNLISTED = 0 as NetnsId;

/** ID that stands for all namespaces about whose owner nothing is known any more. The kernel never assigns this cookie. */
export const FORGOTTEN = (1n << 61n) as NetnsId;

/**
 * Start of the IDs of Pods that share the node's namespace. The kernel never assigns cookies in this range, because it
 * counts up from 1 and, in nested contexts, down from 2^64 (include/linux/cookie.h). Keys above the range identify rows
 * without a namespace (src/probe/tally.ts).
 */
const HOST_PODS = 1n << 62n;
const HOST_PODS_END = 1n << 63n;

/** Returns the ID of a Pod that shares the node's namespace. The ID is used in place of a cookie. */
export function hostPodId(number: number): NetnsId {
  return (HOST_PODS | BigInt(number)) as NetnsId;
}

/** Whether the ID identifies a Pod that shares the node's namespace, rather than a namespace. */
export function isHostPodId(id: NetnsId): boolean {
  return typeof id === 'bigint' && id >= HOST_PODS && id < HOST_PODS_END;
}

export function asNetnsId(cookie: Counter): NetnsId {
  return cookie as NetnsId;
}
