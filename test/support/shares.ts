import type { AnyProbe, ProbeScope } from '#probe/contract.ts';
import type { EventSet } from '#probe/event.ts';
import type { Owners, Shares } from '#probe/owners.ts';

function override<T extends object, K extends keyof T>(target: T, name: K, value: T[K]): T {
  return new Proxy(target, {
    get: (_, key) => {
      const found: unknown = key === name ? value : Reflect.get(target, key, target);
      return typeof found === 'function' ? found.bind(target) : found;
    },
  });
}

/** Returns copies of the probes with shares of their maps that are small enough for a test to fill. */
export function withShares(probes: readonly AnyProbe[], shares: Shares): readonly AnyProbe[] {
  const owners = (of: Owners) => override(of, 'shares', () => shares);
  return probes.map((probe) => ({
    ...probe,
    open: (scope: ProbeScope<EventSet>, sources, settings) =>
      probe.open(override(scope, 'owners', owners(scope.owners)), sources, settings),
  }));
}
