import { OwnerSlots } from '#probe/owners.ts';

/** No namespace is listed as unowned, and every dead one had an owner. */
export const NO_OWNERS = new OwnerSlots({
  isUnowned: () => false,
  isNested: () => false,
  wasOwned: () => true,
  hasDeparted: () => false,
});

/** Marks an object as unowned. */
export const UNOWNED = (): Disposable => ({ [Symbol.dispose]: () => undefined });
