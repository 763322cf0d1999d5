/** Kubernetes object that controls a Pod. */
export interface Owner {
  readonly kind: string;
  readonly name: string;
}

/** Workload of a Pod, under the name that users know. */
export type Workload = Owner;

const TEMPLATE_HASH = 'pod-template-hash';
/** A CronJob names a Job after itself and the scheduled time, in minutes since the epoch. */
const CRON_JOB = /^(.+)-(\d{8})$/;
const MS_IN_MINUTE = 60_000;
/**
 * Maximum time in minutes from the scheduled time of a Job to the creation of its Pod. A number that is not a scheduled
 * time differs by years.
 */
const CRON_LATE_MINUTES_MAX = 7 * 24 * 60;

export interface OwnedPod {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner: Owner | undefined;
  readonly createdMs: number;
}

/**
 * Returns the workload of a Pod. The name of a ReplicaSet contains the name of its Deployment, and the name of a Job
 * contains the name of its CronJob, so these objects do not have to be watched. For any other owner, the workload is
 * that owner. Without an owner, the workload is the Pod itself.
 */
export function workloadOf({ name, labels, owner, createdMs }: OwnedPod): Workload {
  // The owner of a static Pod's mirror is the node.
  if (owner === undefined || owner.kind === 'Node') return { kind: 'Pod', name };
  if (owner.kind === 'ReplicaSet') {
    const suffix = `-${labels[TEMPLATE_HASH]}`;
    const isMade = labels[TEMPLATE_HASH] !== undefined && owner.name.endsWith(suffix) && owner.name !== suffix;
    return isMade ? { kind: 'Deployment', name: owner.name.slice(0, -suffix.length) } : owner;
  }
  if (owner.kind === 'Job') {
    const [, cronJob, minute] = CRON_JOB.exec(owner.name) ?? [];
    const lateMinutes = createdMs / MS_IN_MINUTE - Number(minute);
    // The clocks of the cluster may differ by a minute.
    const isMade = cronJob !== undefined && lateMinutes > -1 && lateMinutes < CRON_LATE_MINUTES_MAX;
    return isMade ? { kind: 'CronJob', name: cronJob } : owner;
  }
  return owner;
}
