import { randomUUID } from 'node:crypto';
import type { ApiObject } from './api_server.ts';

/** Builds Kubernetes API objects. Fields that a test does not specify get default values. */

export interface PodGiven {
  readonly uid?: string;
  readonly name: string;
  readonly namespace?: string;
  readonly node?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly owner?: { readonly kind: string; readonly name: string };
  readonly ips?: readonly string[];
  readonly phase?: string;
  readonly hostNetwork?: boolean;
  readonly created?: string;
}

export function podObject(given: PodGiven): ApiObject {
  const { uid = randomUUID(), name, namespace = 'default', node = 'node-1', ips = [], phase = 'Running' } = given;
  const { labels = {}, annotations = {}, owner, hostNetwork, created = '2026-11-21T12:00:00Z' } = given;
  const ownerReferences = owner && [{ apiVersion: 'apps/v1', ...owner, uid: randomUUID(), controller: true }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      uid,
      name,
      namespace,
      creationTimestamp: created,
      labels,
      annotations,
      ...(ownerReferences && { ownerReferences }),
    },
    spec: {
      nodeName: node,
      ...(hostNetwork === true && { hostNetwork }),
      containers: [{ name: 'main', image: 'busybox' }],
    },
    status: { phase, podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) },
  };
}

export function nodeObject(name: string, ips: readonly string[] = [], podCIDRs: readonly string[] = []): ApiObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { uid: randomUUID(), name, labels: { 'kubernetes.io/hostname': name } },
    spec: { podCIDRs },
    status: {
      addresses: [...ips.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: name }],
    },
  };
}

export function serviceObject(name: string, namespace: string, clusterIPs: readonly string[]): ApiObject {
  return { apiVersion: 'v1', kind: 'Service', metadata: { uid: randomUUID(), name, namespace }, spec: { clusterIPs } };
}

export function endpointSliceObject(
  name: string,
  namespace: string,
  pods: readonly { readonly name: string; readonly ip: string; readonly hasEnded?: boolean; readonly node?: string }[],
): ApiObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { uid: randomUUID(), name, namespace },
    addressType: 'IPv4',
    endpoints: pods.map((pod) => ({
      addresses: [pod.ip],
      nodeName: pod.node ?? 'node-2',
      conditions:
        pod.hasEnded === true
          ? { serving: false, terminating: true }
          : { ready: true, serving: true, terminating: false },
      targetRef: { kind: 'Pod', namespace, name: pod.name },
    })),
  };
}

export function configMapObject(
  name: string,
  namespace: string,
  data: Readonly<Record<string, string>>,
  uid = randomUUID(),
): ApiObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { uid, name, namespace }, data };
}
