import { Cycle } from '#core/cycle.ts';
import { repeat } from '#core/repeat.ts';
import type { ProbeScope } from './contract.ts';
import { EVENT_LEDGER } from './ledger.ts';

/** Findings of one check, and the number of further findings that exceeded the limit. */
export interface Findings<T> {
  readonly found: readonly T[];
  readonly limited: number;
}

export interface WatchOptions<T> {
  readonly everyMs: number;
  /** Name of the condition for operators, for example `full accept queues`. */
  readonly what: string;
  readonly look: (cycle: Cycle) => Promise<Findings<T>>;
  readonly publish: (one: T) => void;
}

/**
 * Checks for a condition that no BPF program reports: once immediately, and then repeatedly until the scope closes. A
 * failure of the check is reported once, and later checks still take place.
 */
export async function watchRepeatedly<T>(
  scope: Pick<ProbeScope<Record<string, never>>, 'own' | 'retained' | 'signal' | 'warn'>,
  { everyMs, what, look, publish }: WatchOptions<T>,
): Promise<void> {
  const ledger = scope.retained(EVENT_LEDGER);
  let failure = '';
  const once = async () => {
    try {
      const { found, limited } = await look(new Cycle(scope.signal));
      const before = ledger.value;
      ledger.value = {
        ...before,
        produced: before.produced + BigInt(found.length + limited),
        limited: before.limited + BigInt(limited),
      };
      for (const one of found) publish(one);
      failure = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== failure && !scope.signal.aborted) scope.warn(`cannot check for ${what}: ${message}`);
      failure = message;
    }
  };
  await once();
  scope.own(repeat(everyMs, once));
}
