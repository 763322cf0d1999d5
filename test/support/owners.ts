import { OwnerSlots } from '#probe/owners.ts';

/** Nobody is listed, and whatever has died was somebody's. */
export const NO_OWNERS = new OwnerSlots({
  isUnowned: () => false,
  isNested: () => false,
  wasOwned: () => true,
  hasDeparted: () => false,
});

/** Tells an object of nobody. */
export const UNOWNED = (): Disposable => ({ [Symbol.dispose]: () => undefined });
