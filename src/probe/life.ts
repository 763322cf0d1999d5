import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ReaderHealth } from '#core/reader.ts';

/** Last known facts about a namespace that is gone, or that has no process left. */
export interface NetnsDeparture {
  readonly id: NetnsId;
  /** Kind of its entity: `pod`, `container` or `netns`. */
  readonly kind: string;
  /** Pod UID or container ID; empty where there is none. */
  readonly uid: string;
  /** Name, as far as it is known from the namespaces themselves. */
  readonly name: string;
  /** Start of its oldest process, in seconds after boot; undefined where no process was seen. */
  readonly startSeconds: number | undefined;
}

/** Report of the kernel on a namespace right before it removes it. */
export interface NetnsDeath {
  readonly id: NetnsId;
  /** Last counters: a struct mib_row. */
  readonly row: Uint8Array;
  /** Time of the removal in nanoseconds since the epoch. */
  readonly timeNs: bigint;
  /** Same time in seconds after boot. */
  readonly bootSeconds: number;
}

/** Receives the ends of namespaces. */
export interface NetnsWatcher {
  /** Time for which an entity is still shown after its death, in milliseconds. */
  readonly retireMs: number;
  /** Largest share of all entities on a page that may be dead ones: 0 to 1. */
  readonly retireShare: number;
  /** Called before each look at the machine, after all births and deaths until now were reported. */
  beforeLook(): void;
  departed(departure: NetnsDeparture): void;
  /** @param isShown true where the namespace is still shown, so that its last counters are needed */
  died(death: NetnsDeath, isShown: boolean): void;
}

/** Births and deaths of namespaces, which the kernel reports to the agent whichever probes run. */
export interface NetnsLife {
  /** Health of the programs that report them; degraded where only a scan of the machine finds them. */
  readonly health: ReaderHealth;
  /** True where the kernel reports deaths, with the last counters. */
  readonly tellsDeaths: boolean;
  /** Number of deaths that there was no room to report; undefined where the kernel reports none. */
  readonly untoldDeaths: Counter | undefined;
  /** Follows the ends of namespaces until disposed; there is one watcher at a time, and without one no entity is retired. */
  watch(watcher: NetnsWatcher): Disposable;
}
