import type { View } from './promql.ts';

/** Selections by the variables at the top of a dashboard. Each of them may be `.*`, which also matches series without the label. */

export const CLUSTER = 'cluster=~"$cluster"';
export const NODE = 'node=~"$node"';
export const NAMESPACE = 'namespace=~"$namespace"';
export const IS_POD = 'pod!=""';

/** Letters and figures that Kubernetes makes the ends of names from (k8s.io/apimachinery, util/rand): no vowels, no 0, 1, 3. */
const RANDOM = '[bcdfghjklmnpqrstvwxz2456789]';
/** Suffix that a ReplicaSet, DaemonSet, Job, CronJob or StatefulSet adds to the name of the workload. */
const POD_SUFFIX = `(?:(?:-(?:${RANDOM}{6,10}|[0-9]{8,10}))?-${RANDOM}{5}|-[0-9]+)`;

/** The workload of a Pod, from its name: JavaScript, for the variable. */
export const WORKLOAD_OF_POD = `^(?<value>.+?)${POD_SUFFIX}?$`;

export const POD = 'pod=~"$pod"';
export const WORKLOAD = `pod=~"$workload${POD_SUFFIX}?"`;

const RATE = '$__rate_interval';
const RANGE = '$__range';

export const OF_NAMESPACE: readonly string[] = [CLUSTER, NODE, NAMESPACE];
export const OF_WORKLOAD: readonly string[] = [...OF_NAMESPACE, WORKLOAD];

export const OF_CLUSTER: View = { matchers: OF_NAMESPACE, window: RATE };
/** The same over the whole time range of the dashboard. */
export const OF_CLUSTER_RANGE: View = { ...OF_CLUSTER, window: RANGE };

export const OF_POD: View = { matchers: [...OF_WORKLOAD, POD, IS_POD], window: RATE };

/** The node as a machine, and its own network namespace. */
export const OF_NODE: View = { matchers: [CLUSTER, NODE, 'pod=""'], window: RATE };
/** The node and all Pods on it. */
export const ON_NODE: View = { matchers: [CLUSTER, NODE], window: RATE };
export const ON_NODE_RANGE: View = { ...ON_NODE, window: RANGE };

/** The agents: their own metrics have the namespace and the Pod of the agent. */
export const OF_AGENT: View = { matchers: [CLUSTER, NODE], window: RATE };
