import type { Counter } from './counter.ts';

/** Id of a network namespace: its cookie, never reused until reboot; on kernels before 5.12 its inode number. */
export type NetnsId = Counter & { readonly __brand: 'NetnsId' };

/** Stands for all unlisted namespaces together: no cookie is 0. */
export const UNLISTED = 0 as NetnsId;

export function asNetnsId(cookie: Counter): NetnsId {
  return cookie as NetnsId;
}
