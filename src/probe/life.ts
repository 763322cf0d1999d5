import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ReaderHealth } from '#core/reader.ts';

/** Last known facts about a namespace that was removed or has no processes left. */
export interface NetnsDeparture {
  readonly id: NetnsId;
  /** Kind of the entity that owned it: `pod`, `container` or `netns`. */
  readonly kind: string;
  /** Pod UID or container ID; empty if there is none. */
  readonly uid: string;
  /** Name as derived from the namespaces themselves, without Kubernetes. */
  readonly name: string;
  /** Start time of the oldest process in seconds after boot; undefined if no process was seen. */
  readonly startSeconds: number | undefined;
}

/** Report that the kernel sends right before it removes a namespace. */
export interface NetnsDeath {
  readonly id: NetnsId;
  /** Final counters as a struct mib_row. */
  readonly row: Uint8Array;
  /** Time of the removal in nanoseconds since the epoch. */
  readonly timeNs: bigint;
  /** Same time as `timeNs`, in seconds after boot. */
  readonly bootSeconds: number;
}

/** Receives reports about namespaces that were removed or have no processes left. */
export interface NetnsWatcher {
  /** Milliseconds for which an entity stays on the page after its death. */
  readonly retireMs: number;
  /** Maximum share of the entities on a page that may be dead: 0 to 1. */
  readonly retireShare: number;
  /** Called before each scan of the machine, after all earlier creations and removals were reported. */
  beforeLook(): void;
  departed(departure: NetnsDeparture): void;
  /**
   * @param isShown true if the namespace is still shown, which means that its final counters are needed
   */
  died(death: NetnsDeath, isShown: boolean): void;
}

/** Creation and removal of namespaces. The kernel reports both to the agent regardless of which probes run. */
export interface NetnsLife {
  /** Health of the BPF programs that report both. Degraded if the agent has to scan the machine instead. */
  readonly health: ReaderHealth;
  /** True if the kernel reports removals with the final counters. */
  readonly tellsDeaths: boolean;
  /**
   * Number of removals that were not reported because the map was full; undefined if the kernel reports no removals.
   */
  readonly untoldDeaths: Counter | undefined;
  /**
   * Registers the watcher until the result is disposed. Only one watcher can be registered. Without a watcher, dead
   * entities are not kept.
   */
  watch(watcher: NetnsWatcher): Disposable;
}
