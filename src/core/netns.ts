import type { Counter } from './counter.ts';

/** ID of a network namespace: its cookie, which is unique until reboot, or its inode number on kernels before 5.12. */
export type NetnsId = Counter & { readonly __brand: 'NetnsId' };

/** Stands for all unlisted namespaces together, because no cookie is 0. */
export const UNLISTED = 0 as NetnsId;

/**
 * Start of a range that the kernel never assigns as cookies: it counts up from 1, and in nested contexts down from 2^64
 * (include/linux/cookie.h). The keys above the range belong to rows without a namespace: src/probe/tally.ts.
 */
const HOST_PODS = 1n << 62n;
const HOST_PODS_END = 1n << 63n;

/** Returns the ID of a Pod that shares the node's namespace, in place of a cookie. */
export function hostPodId(number: number): NetnsId {
  return (HOST_PODS | BigInt(number)) as NetnsId;
}

/** Whether the ID is that of a Pod that shares the node's namespace, and of no namespace. */
export function isHostPodId(id: NetnsId): boolean {
  return typeof id === 'bigint' && id >= HOST_PODS && id < HOST_PODS_END;
}

export function asNetnsId(cookie: Counter): NetnsId {
  return cookie as NetnsId;
}
