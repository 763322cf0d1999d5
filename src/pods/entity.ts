import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';

/** Owner of samples and events. */
export interface Entity {
  readonly kind: EntityKind;
  readonly netns: NetnsId;
  /** Inode number of the network namespace, as in `ls -l /proc/<pid>/ns/net`. */
  readonly inum: number;
  /** Values of the labels `namespace` and `pod`; both are empty for the node. */
  readonly namespace: string;
  readonly pod: string;
  /** Pod UID or container ID; empty if there is none. */
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether its namespace is dead. Its last values are shown unless a live entity has the same labels. */
  readonly isRetired?: boolean;
}

/** Owner of a namespace, and the processes that were in it at the last scan. */
export interface NetnsOwner {
  readonly entity: Entity;
  readonly pids: readonly number[];
}
