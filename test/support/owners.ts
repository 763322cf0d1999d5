import { OwnerSlots } from '#probe/owners.ts';

/** Owners for tests in which no namespace is unowned. */
export const NO_OWNERS = new OwnerSlots({
  isUnowned: () => false,
  isNested: () => false,
  wasOwned: () => true,
  hasDeparted: () => false,
});

/** A probe's `share` for tests in which all namespaces have an owner. */
export const UNOWNED = (): Disposable => ({ [Symbol.dispose]: () => undefined });
