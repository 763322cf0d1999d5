import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ReaderHealth } from '#core/reader.ts';

/** What was known of a namespace that is gone, or that nobody is left in. */
export interface NetnsDeparture {
  readonly id: NetnsId;
  /** Kind of its entity: `pod`, `container` or `netns`. */
  readonly kind: string;
  /** Pod UID or container ID; empty where there is none. */
  readonly uid: string;
  /** Its name, as far as the namespaces themselves tell. */
  readonly name: string;
  /** When its oldest process began, in seconds after boot; undefined where there was none to be seen. */
  readonly startSeconds: number | undefined;
}

/** What the kernel tells of a namespace right before it takes it down. */
export interface NetnsDeath {
  readonly id: NetnsId;
  /** Its last counters: a struct mib_row. */
  readonly row: Uint8Array;
  /** Wall clock, nanoseconds since the epoch. */
  readonly timeNs: bigint;
  /** The same in seconds after boot. */
  readonly bootSeconds: number;
}

/** Told how namespaces end. */
export interface NetnsWatcher {
  /** Time for which an entity is still shown after its death, in milliseconds. */
  readonly retireMs: number;
  /** Share of all entities on a page that the dead take at most: 0 to 1. */
  readonly retireShare: number;
  /** Called before each look at the machine, when all births and deaths until now have been told. */
  beforeLook(): void;
  departed(departure: NetnsDeparture): void;
  /** @param isShown the namespace is still shown: its last counters are of interest */
  died(death: NetnsDeath, isShown: boolean): void;
}

/** Births and deaths of namespaces, which the kernel tells the agent whichever probes run. */
export interface NetnsLife {
  /** The programs that tell of them; degraded where only a scan of the machine does. */
  readonly health: ReaderHealth;
  /** The kernel tells of deaths, with the last counters. */
  readonly tellsDeaths: boolean;
  /** How many deaths found no room to be told; undefined where none is told. */
  readonly untoldDeaths: Counter | undefined;
  /** Follows the ends of namespaces until disposed; there is one watcher at a time, and without one no entity is retired. */
  watch(watcher: NetnsWatcher): Disposable;
}
