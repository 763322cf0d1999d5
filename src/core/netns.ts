import type { Counter } from './counter.ts';

/** ID of a network namespace: its cookie, which is unique until reboot, or its inode number on kernels before 5.12. */
export type NetnsId = Counter & { readonly __brand: 'NetnsId' };

/** Stands for all unlisted namespaces together, because no cookie is 0. */
export const UNLISTED = 0 as NetnsId;

export function asNetnsId(cookie: Counter): NetnsId {
  return cookie as NetnsId;
}
