import type { View } from './promql.ts';

/**
 * Selectors that use the variables at the top of a dashboard. The value of each variable may be `.*`, which also
 * matches series without the label.
 */

export const CLUSTER = 'cluster=~"$cluster"';
export const NODE = 'node=~"$node"';
export const NAMESPACE = 'namespace=~"$namespace"';
export const IS_POD = 'pod!=""';

/**
 * Characters of the random suffixes in Kubernetes names, which exclude vowels, 0, 1 and 3 (k8s.io/apimachinery,
 * util/rand).
 */
const RANDOM = '[bcdfghjklmnpqrstvwxz2456789]';
/** Matches the suffix that a ReplicaSet, DaemonSet, Job, CronJob or StatefulSet adds to the name of a workload. */
const POD_SUFFIX = `(?:(?:-(?:${RANDOM}{6,10}|[0-9]{8,10}))?-${RANDOM}{5}|-[0-9]+)`;

/**
 * Extracts the workload from the name of a Pod. The regular expression has JavaScript's syntax, because Grafana applies
 * it to the values of a variable.
 */
export const WORKLOAD_OF_POD = `^(?<value>.+?)${POD_SUFFIX}?$`;
/** The same for `label_replace` of Prometheus, which matches the whole name. The workload is the first group. */
export const WORKLOAD_OF_POD_RE2 = `(.+?)${POD_SUFFIX}?`;

export const POD = 'pod=~"$pod"';
export const WORKLOAD = `pod=~"$workload${POD_SUFFIX}?"`;

const RATE = '$__rate_interval';
const RANGE = '$__range';

export const OF_NAMESPACE: readonly string[] = [CLUSTER, NODE, NAMESPACE];
export const OF_WORKLOAD: readonly string[] = [...OF_NAMESPACE, WORKLOAD];

export const OF_CLUSTER: View = { matchers: OF_NAMESPACE, window: RATE };
/** Same selection as OF_CLUSTER, over the whole time range of the dashboard. */
export const OF_CLUSTER_RANGE: View = { ...OF_CLUSTER, window: RANGE };

export const OF_POD: View = { matchers: [...OF_WORKLOAD, POD, IS_POD], window: RATE };
/** Same selection as OF_POD, over the whole time range of the dashboard. */
export const OF_POD_RANGE: View = { ...OF_POD, window: RANGE };

/** Selects series of the node itself, without those of Pods. */
export const OF_NODE: View = { matchers: [CLUSTER, NODE, 'pod=""'], window: RATE };
/** Selects series of the node and of all Pods on it. */
export const ON_NODE: View = { matchers: [CLUSTER, NODE], window: RATE };
export const ON_NODE_RANGE: View = { ...ON_NODE, window: RANGE };

/** Selects the agents' own metrics, whose namespace and Pod are those of the agent. */
export const OF_AGENT: View = { matchers: [CLUSTER, NODE], window: RATE };
