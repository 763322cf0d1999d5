import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ReaderHealth } from '#core/reader.ts';

/** Facts that were known about a namespace when it was removed or lost its last process. */
export interface NetnsDeparture {
  readonly id: NetnsId;
  /** Kind of the entity that owned the namespace: `pod`, `container` or `netns`. */
  readonly kind: string;
  /** Pod UID or container ID; empty if there is none. */
  readonly uid: string;
  /** Name that is derived from the machine itself, without Kubernetes. */
  readonly name: string;
  /** Start of the oldest process in seconds after boot; undefined if no process was seen. */
  readonly startSeconds: number | undefined;
}

/** Report that the kernel sends right before it removes a namespace. */
export interface NetnsDeath {
  readonly id: NetnsId;
  /** Final counters, as a struct mib_row. */
  readonly row: Uint8Array;
  /** Time of the removal in nanoseconds since the epoch. */
  readonly timeNs: bigint;
  /** The same time as `timeNs`, in seconds after boot. */
  readonly bootSeconds: number;
}

/** Receives reports about namespaces that were removed or have no processes left. */
export interface NetnsWatcher {
  /** Milliseconds for which an entity remains on the page after its death. */
  readonly retireMs: number;
  /** Maximum share of dead entities among the entities on a page: 0 to 1. */
  readonly retireShare: number;
  /** Called before each scan of the machine, after all earlier creations and removals were reported. */
  beforeLook(): void;
  departed(departure: NetnsDeparture): void;
  /**
   * Called when a namespace is removed.
   * @param isShown whether the namespace is still shown, so that its final counters are needed
   */
  died(death: NetnsDeath, isShown: boolean): void;
}

/**
 * Reports the creation and removal of namespaces. The kernel reports them to the agent regardless of which probes run.
 */
export interface NetnsLife {
  /**
   * Health of the BPF programs that report creations and removals. It is degraded if the agent has to scan the machine
   * instead.
   */
  readonly health: ReaderHealth;
  /** Whether the kernel reports removals together with the final counters. */
  readonly tellsDeaths: boolean;
  /**
   * Number of removals that were not reported because the map was full; undefined if the kernel reports no removals.
   */
  readonly untoldDeaths: Counter | undefined;
  /**
   * Registers the watcher until the returned object is disposed. Only one watcher can be registered. Without a watcher,
   * dead entities are not kept.
   */
  watch(watcher: NetnsWatcher): Disposable;
}
