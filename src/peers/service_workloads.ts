import type { PodName } from '#pods/facts.ts';
import type { ServiceWorkload } from './peer.ts';

/**
 * Finds the Services whose given Pods all belong to the same workload. Names are not compared, because a Service named
 * `db` may select the Pods of any workload.
 * @param pods Pods with a known workload
 * @param servicesOf returns the names of the Services that select a Pod
 */
export function serviceWorkloads<Pod extends Pick<PodName, 'namespace' | 'workload'>>(
  pods: readonly Pod[],
  servicesOf: (pod: Pod) => readonly string[],
): readonly ServiceWorkload[] {
  /** The value is undefined for a Service whose Pods belong to several workloads. */
  const found = new Map<string, ServiceWorkload | undefined>();
  for (const pod of pods) {
    const { namespace, workload } = pod;
    for (const service of servicesOf(pod)) {
      const key = `${namespace}/${service}`;
      const isClear = !found.has(key) || found.get(key)?.workload === workload.name;
      found.set(key, isClear ? { namespace, service, workload: workload.name } : undefined);
    }
  }
  return [...found.values()].filter((each) => each !== undefined);
}
