/** The object that a Pod belongs to. */
export interface Owner {
  readonly kind: string;
  readonly name: string;
}

/** Workload that a Pod belongs to, as people name it. */
export type Workload = Owner;

const TEMPLATE_HASH = 'pod-template-hash';
/** A Job of a CronJob is named after it and the scheduled minute, counted from the epoch. */
const CRON_JOB = /^(.+)-(\d{8})$/;
const MS_IN_MINUTE = 60_000;
/** A Pod of a Job may be made long after the Job; a number that is not a time of these days is years off. */
const CRON_LATE_MINUTES_MAX = 7 * 24 * 60;

export interface OwnedPod {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner: Owner | undefined;
  readonly createdMs: number;
}

/**
 * Returns the workload of a Pod by its owner: the Deployment of a ReplicaSet and the CronJob of a Job follow from their names, which
 * their controllers make by a rule, so these need not be watched. Where the rule does not fit, it is the owner itself; without one,
 * the Pod.
 */
export function workloadOf({ name, labels, owner, createdMs }: OwnedPod): Workload {
  // The mirror of a static Pod belongs to its node.
  if (owner === undefined || owner.kind === 'Node') return { kind: 'Pod', name };
  if (owner.kind === 'ReplicaSet') {
    const suffix = `-${labels[TEMPLATE_HASH]}`;
    const isMade = labels[TEMPLATE_HASH] !== undefined && owner.name.endsWith(suffix) && owner.name !== suffix;
    return isMade ? { kind: 'Deployment', name: owner.name.slice(0, -suffix.length) } : owner;
  }
  if (owner.kind === 'Job') {
    const [, cronJob, minute] = CRON_JOB.exec(owner.name) ?? [];
    const lateMinutes = createdMs / MS_IN_MINUTE - Number(minute);
    // SectionExpiry may differ by a minute.
    const isMade = cronJob !== undefined && lateMinutes > -1 && lateMinutes < CRON_LATE_MINUTES_MAX;
    return isMade ? { kind: 'CronJob', name: cronJob } : owner;
  }
  return owner;
}
