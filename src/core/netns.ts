import type { Counter } from './counter.ts';

/** A network namespace: its cookie, never reused until reboot. On kernels before 5.12 its inode number. */
export type NetnsId = Counter & { readonly __brand: 'NetnsId' };

/** Stands for namespaces that nobody has listed, all together: no cookie is 0. */
export const UNLISTED = 0 as NetnsId;

export function asNetnsId(cookie: Counter): NetnsId {
  return cookie as NetnsId;
}
