import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';

/** Whom samples and events belong to. */
export interface Entity {
  readonly kind: EntityKind;
  readonly netns: NetnsId;
  /** Inode number of the namespace, as `ls -l /proc/<pid>/ns/net` shows it. */
  readonly inum: number;
  /** Label values. Both are empty for the node. */
  readonly namespace: string;
  readonly pod: string;
  /** Pod UID or container ID; empty where there is none. */
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Its namespace is dead: its last values are shown, unless somebody who lives has the same labels. */
  readonly isRetired?: boolean;
}

/** Whose a namespace is, and processes that were in it at the last scan. */
export interface NetnsOwner {
  readonly entity: Entity;
  readonly pids: readonly number[];
}
