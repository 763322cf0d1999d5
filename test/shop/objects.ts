import { createHash, randomUUID } from 'node:crypto';
import type { ApiObject, ApiServer } from '../support/api_server.ts';
import { NODE_PORT, NODES, type NodePlan, SHOP_IP, type WorkloadPlan } from './plan.ts';

/** The shop's Kubernetes objects, in the form in which controllers and the kubelet write them. */

const POD_SUFFIXES = 'bcdfghjklmnpqrstvwxz2456789';
const MINUTE_MS = 60_000;

/** Returns characters from the alphabet of generated names. The result depends only on the text. */
function safeHash(text: string, length: number): string {
  const bytes = createHash('sha256').update(text).digest();
  return Array.from({ length }, (_, index) => POD_SUFFIXES[(bytes[index] ?? 0) % POD_SUFFIXES.length]).join('');
}

interface Naming {
  readonly name: string;
  readonly owner: { readonly kind: string; readonly name: string };
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Returns the name, the owner and the labels of a workload's Pod. @param nowMs milliseconds since the epoch, for Jobs
 */
export function nameOfPod({ namespace, name, kind }: WorkloadPlan, index: number, nowMs: number): Naming {
  const label = { 'app.kubernetes.io/name': name };
  const key = `${namespace}/${name}`;
  switch (kind) {
    case 'Deployment': {
      const hash = safeHash(key, 10);
      const owner = { kind: 'ReplicaSet', name: `${name}-${hash}` };
      return {
        name: `${owner.name}-${safeHash(`${key}/${index}`, 5)}`,
        owner,
        labels: { ...label, 'pod-template-hash': hash },
      };
    }
    case 'StatefulSet': {
      const pod = `${name}-${index}`;
      return { name: pod, owner: { kind, name }, labels: { ...label, 'statefulset.kubernetes.io/pod-name': pod } };
    }
    case 'CronJob': {
      // The controller names a Job after the minute for which it was scheduled.
      const owner = { kind: 'Job', name: `${name}-${Math.floor(nowMs / MINUTE_MS)}` };
      return {
        name: `${owner.name}-${safeHash(`${key}/${nowMs}`, 5)}`,
        owner,
        labels: { ...label, 'batch.kubernetes.io/job-name': owner.name },
      };
    }
    default:
      return { name: `${name}-${safeHash(`${key}/${index}`, 5)}`, owner: { kind, name }, labels: label };
  }
}

export function nodeOf({ name, ip, subnet, zone }: NodePlan): ApiObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      uid: randomUUID(),
      name,
      labels: {
        'kubernetes.io/hostname': name,
        'topology.kubernetes.io/region': 'eu-1',
        'topology.kubernetes.io/zone': zone,
      },
    },
    spec: { podCIDR: `${subnet}.0/24`, podCIDRs: [`${subnet}.0/24`] },
    status: {
      addresses: [
        { type: 'InternalIP', address: ip },
        { type: 'Hostname', address: name },
      ],
    },
  };
}

export interface PodFacts {
  readonly uid: string;
  readonly plan: WorkloadPlan;
  readonly naming: Naming;
  readonly node: NodePlan;
  readonly ip: string;
  readonly createdMs: number;
  readonly phase: 'Running' | 'Succeeded';
}

export function podOf({ uid, plan, naming, node, ip, createdMs, phase }: PodFacts): ApiObject {
  const apiVersion = plan.kind === 'CronJob' ? 'batch/v1' : 'apps/v1';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      uid,
      name: naming.name,
      namespace: plan.namespace,
      creationTimestamp: `${new Date(createdMs).toISOString().slice(0, -5)}Z`,
      labels: naming.labels,
      ownerReferences: [{ apiVersion, ...naming.owner, uid: randomUUID(), controller: true, blockOwnerDeletion: true }],
    },
    spec: {
      nodeName: node.name,
      ...(plan.engine === 'agent' && { hostNetwork: true }),
      containers: [{ name: plan.name, image: `registry.example/${plan.name}:1.0.0` }],
    },
    status: { phase, hostIP: node.ip, podIP: ip, podIPs: [{ ip }] },
  };
}

/** Writes a Service and its EndpointSlice. */
export function putService(
  api: ApiServer,
  { namespace, service, name: app }: WorkloadPlan,
  pods: readonly PodFacts[],
): void {
  if (service === undefined) return;
  const { name, ip, ports, isPublic = false } = service;
  const uid = randomUUID();
  api.put('services', {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { uid, name, namespace, labels: { 'app.kubernetes.io/name': app } },
    spec: {
      type: isPublic ? 'LoadBalancer' : 'ClusterIP',
      clusterIP: ip,
      clusterIPs: [ip],
      selector: { 'app.kubernetes.io/name': app },
      ports: ports.map(({ name, port, target, protocol }) => ({
        name,
        port,
        targetPort: target,
        protocol,
        ...(isPublic && { nodePort: NODE_PORT }),
      })),
      ...(isPublic && { externalTrafficPolicy: 'Local' }),
    },
    status: { loadBalancer: isPublic ? { ingress: [{ ip: SHOP_IP }] } : {} },
  });
  api.put('endpointslices', {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      uid: randomUUID(),
      name: `${name}-${safeHash(`${namespace}/${name}`, 5)}`,
      namespace,
      labels: { 'kubernetes.io/service-name': name },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name, uid, controller: true }],
    },
    addressType: 'IPv4',
    ports: ports.map(({ name, target, protocol }) => ({ name, port: target, protocol })),
    endpoints: pods.map(({ ip, node, naming, uid }) => ({
      addresses: [ip],
      nodeName: node.name,
      zone: node.zone,
      conditions: { ready: true, serving: true, terminating: false },
      targetRef: { kind: 'Pod', namespace, name: naming.name, uid },
    })),
  });
}

export function putNodes(api: ApiServer): void {
  for (const node of NODES) api.put('nodes', nodeOf(node));
}

const REDIS_POLICY = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { uid: randomUUID(), name: 'redis-clients', namespace: 'data' },
  spec: {
    podSelector: { matchLabels: { 'app.kubernetes.io/name': 'redis' } },
    ingress: [
      {
        from: [
          {
            namespaceSelector: {},
            podSelector: {
              matchExpressions: [{ key: 'app.kubernetes.io/name', operator: 'NotIn', values: ['cart'] }],
            },
          },
        ],
      },
    ],
  },
};

/** Creates the policy that allows redis to all Pods except those of cart. */
export function putRedisPolicy(api: ApiServer): void {
  api.put('networkpolicies', REDIS_POLICY as unknown as ApiObject);
}

export function removeRedisPolicy(api: ApiServer): void {
  api.delete('networkpolicies', REDIS_POLICY.metadata.uid);
}
