/** Kubernetes object that controls a Pod. */
export interface Owner {
  readonly kind: string;
  readonly name: string;
}

/** Workload of a Pod, with the name that its users know. */
export type Workload = Owner;

const TEMPLATE_HASH = 'pod-template-hash';
/** Name of a Job that a CronJob created: the name of the CronJob and the scheduled time in minutes since the epoch. */
const CRON_JOB = /^(.+)-(\d{8})$/;
const MS_IN_MINUTE = 60_000;
/**
 * Maximum delay in minutes between the scheduled time of a Job and the creation of its Pod. A number in a name that is
 * not a scheduled time differs from the creation time by years.
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
 * contains the name of its CronJob, so these objects need not be watched. Any other owner is itself the workload. A Pod
 * without an owner is its own workload.
 */
export function workloadOf({ name, labels, owner, createdMs }: OwnedPod): Workload {
  // The mirror Pod of a static Pod is owned by the node.
  if (owner === undefined || owner.kind === 'Node') return { kind: 'Pod', name };
  if (owner.kind === 'ReplicaSet') {
    const suffix = `-${labels[TEMPLATE_HASH]}`;
    const isMade = labels[TEMPLATE_HASH] !== undefined && owner.name.endsWith(suffix) && owner.name !== suffix;
    return isMade ? { kind: 'Deployment', name: owner.name.slice(0, -suffix.length) } : owner;
  }
  if (owner.kind === 'Job') {
    const [, cronJob, minute] = CRON_JOB.exec(owner.name) ?? [];
    const lateMinutes = createdMs / MS_IN_MINUTE - Number(minute);
    // The clocks of the machines in a cluster may differ by a minute.
    const isMade = cronJob !== undefined && lateMinutes > -1 && lateMinutes < CRON_LATE_MINUTES_MAX;
    return isMade ? { kind: 'CronJob', name: cronJob } : owner;
  }
  return owner;
}
