import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';

/** Subject to which samples and events are attributed. */
export interface Entity {
  readonly kind: EntityKind;
  /** Network namespace of the entity. For a Pod that shares the node's namespace, an ID that `hostPodId()` returns. */
  readonly netns: NetnsId;
  /** Inode number of the network namespace, as in `ls -l /proc/<pid>/ns/net`. */
  readonly inum: number;
  /** Values of the labels `namespace` and `pod`. Both are empty for the node. */
  readonly namespace: string;
  readonly pod: string;
  /** Pod UID or container ID; empty if there is none. */
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The node's namespace, if the entity is a Pod that shares it. */
  readonly sharedNetns?: NetnsId;
  /** Whether the entity is dead. Its last values are still shown, unless a live entity has the same labels. */
  readonly isRetired?: boolean;
}

/** Whether the entity is a Pod that shares the node's namespace. */
export function isHostPod({ sharedNetns }: Pick<Entity, 'sharedNetns'>): boolean {
  return sharedNetns !== undefined;
}

/** Owner of a namespace, and the processes that were in it at the last scan. */
export interface NetnsOwner {
  readonly entity: Entity;
  readonly pids: readonly number[];
}
