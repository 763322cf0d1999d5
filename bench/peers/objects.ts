import { randomUUID } from 'node:crypto';
import type { ApiObject } from '../../test/support/api_server.ts';

/**
 * Objects as large as those of a cluster with two containers per Pod: a Pod takes about 9 kB, a node 12 kB, and an
 * EndpointSlice 350 bytes for each endpoint. All objects share their common parts.
 */

const TIME = '2026-11-21T12:00:00Z';

/** Returns an entry of `metadata.managedFields` for the fields that a manager owns. */
function managed(manager: string, paths: readonly string[]): object {
  const fieldsV1 = Object.fromEntries(paths.map((path) => [`f:${path}`, { 'f:name': {}, 'f:value': {}, '.': {} }]));
  return { manager, operation: 'Update', apiVersion: 'v1', time: TIME, fieldsType: 'FieldsV1', fieldsV1 };
}

const POD_MANAGED = [
  managed('kube-controller-manager', [
    ...['generateName', 'labels', 'app.kubernetes.io/name', 'app.kubernetes.io/instance', 'pod-template-hash'],
    ...['ownerReferences', 'containers', 'env', 'image', 'imagePullPolicy', 'livenessProbe', 'readinessProbe'],
    ...['resources', 'limits', 'requests', 'terminationMessagePath', 'terminationMessagePolicy', 'volumeMounts'],
    ...['dnsPolicy', 'enableServiceLinks', 'restartPolicy', 'schedulerName', 'securityContext', 'serviceAccount'],
  ]),
  managed('kubelet', [
    ...['conditions', 'ContainersReady', 'Initialized', 'PodReadyToStartContainers', 'Ready', 'containerStatuses'],
    ...['hostIP', 'hostIPs', 'phase', 'podIP', 'podIPs', 'startTime'],
  ]),
];

function container(name: string): object {
  const probe = { httpGet: { path: '/healthz', port: 'http', scheme: 'HTTP' }, timeoutSeconds: 1, periodSeconds: 10 };
  return {
    name,
    image: `registry.example.com/shop/${name}:v1.14.2`,
    args: ['--listen=:8080', '--log-format=json', '--metrics=:9090'],
    ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    env: Array.from({ length: 12 }, (_, nth) => ({ name: `SETTING_${nth}`, value: `the value of setting ${nth}` })),
    resources: { limits: { cpu: '1', memory: '512Mi' }, requests: { cpu: '100m', memory: '256Mi' } },
    volumeMounts: [{ name: 'kube-api-access', readOnly: true, mountPath: '/var/run/secrets/kubernetes.io' }],
    livenessProbe: probe,
    readinessProbe: probe,
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: 'IfNotPresent',
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, runAsNonRoot: true },
  };
}

const POD_SPEC = {
  volumes: [
    { name: 'kube-api-access', projected: { sources: [{ serviceAccountToken: { expirationSeconds: 3607 } }] } },
    { name: 'config', configMap: { name: 'settings', defaultMode: 420 } },
  ],
  containers: [container('server'), container('proxy')],
  restartPolicy: 'Always',
  terminationGracePeriodSeconds: 30,
  dnsPolicy: 'ClusterFirst',
  serviceAccountName: 'server',
  schedulerName: 'default-scheduler',
  tolerations: [
    { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
    { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
  ],
  priority: 0,
  enableServiceLinks: true,
  preemptionPolicy: 'PreemptLowerPriority',
};
const CONDITIONS = ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(
  (type) => ({ type, status: 'True', lastProbeTime: null, lastTransitionTime: TIME }),
);
const CONTAINER_STATUSES = ['server', 'proxy'].map((name) => ({
  name,
  state: { running: { startedAt: TIME } },
  lastState: {},
  ready: true,
  restartCount: 0,
  image: `registry.example.com/shop/${name}:v1.14.2`,
  imageID: `registry.example.com/shop/${name}@sha256:${'0123456789abcdef'.repeat(4)}`,
  containerID: `containerd://${'fedcba9876543210'.repeat(4)}`,
  started: true,
}));

/** Returns the nth address below a /8. */
export function ipOf(network: number, nth: number): string {
  return `${network}.${(nth >> 16) & 255}.${(nth >> 8) & 255}.${nth & 255}`;
}

const PODS_PER_WORKLOAD = 20;

/** Returns the nth Pod, whose address is 10.x.y.z. */
export function fullPod(nth: number, node: string): ApiObject {
  const workload = Math.floor(nth / PODS_PER_WORKLOAD);
  const name = `service-${workload}`;
  const podIP = ipOf(10, nth);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name}-7d9f8b6c5d-${(nth % PODS_PER_WORKLOAD).toString(36).padStart(5, 'x')}`,
      generateName: `${name}-7d9f8b6c5d-`,
      namespace: `team-${workload % 50}`,
      uid: randomUUID(),
      creationTimestamp: TIME,
      labels: { 'app.kubernetes.io/name': name, 'pod-template-hash': '7d9f8b6c5d' },
      annotations: { 'prometheus.io/scrape': 'true', 'kubectl.kubernetes.io/restartedAt': TIME },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${name}-7d9f8b6c5d`,
          uid: randomUUID(),
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: POD_MANAGED,
    },
    spec: { ...POD_SPEC, nodeName: node },
    status: {
      phase: 'Running',
      conditions: CONDITIONS,
      hostIP: '192.0.2.1',
      podIP,
      podIPs: [{ ip: podIP }],
      startTime: TIME,
      containerStatuses: CONTAINER_STATUSES,
      qosClass: 'Burstable',
    },
  };
}

const IMAGES = Array.from({ length: 50 }, (_, nth) => ({
  names: [`registry.example.com/shop/image-${nth}@sha256:${'89abcdef01234567'.repeat(4)}`],
  sizeBytes: 123_456_789,
}));
const NODE_CONDITIONS = ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map((type) => ({
  type,
  status: type === 'Ready' ? 'True' : 'False',
  lastHeartbeatTime: TIME,
  lastTransitionTime: TIME,
  reason: `Kubelet${type}`,
  message: `kubelet reports the condition ${type}`,
}));
const NODE_MANAGED = [
  managed('kubelet', ['annotations', 'labels', 'kubernetes.io/arch', 'kubernetes.io/hostname', 'kubernetes.io/os']),
  managed('kubelet', ['allocatable', 'capacity', 'conditions', 'images', 'nodeInfo', 'addresses', 'daemonEndpoints']),
];

/** Returns the nth node, whose address is 172.x.y.z. @param second address of another family */
export function fullNode(nth: number, second?: string): ApiObject {
  const name = `node-${nth}`;
  const ips = [ipOf(172, nth), ...(second === undefined ? [] : [second])];
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      uid: randomUUID(),
      creationTimestamp: TIME,
      labels: {
        'kubernetes.io/arch': 'amd64',
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'node.kubernetes.io/instance-type': 'm6i.4xlarge',
        'topology.kubernetes.io/region': 'eu-central-1',
        'topology.kubernetes.io/zone': `eu-central-1${'abc'[nth % 3]}`,
      },
      annotations: {
        'node.alpha.kubernetes.io/ttl': '0',
        'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
      },
      managedFields: NODE_MANAGED,
    },
    spec: { podCIDR: `10.${nth >> 8}.${nth & 255}.0/24`, podCIDRs: [`10.${nth >> 8}.${nth & 255}.0/24`] },
    status: {
      addresses: [...ips.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: name }],
      conditions: NODE_CONDITIONS,
      images: IMAGES,
      nodeInfo: { kernelVersion: '6.12.41+deb13-amd64', osImage: 'Debian GNU/Linux 13 (trixie)' },
    },
  };
}

/** Returns the nth Service, whose address is 11.x.y.z. */
export function fullService(nth: number): ApiObject {
  const ip = ipOf(11, nth);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: `service-${nth}`,
      namespace: `team-${nth % 50}`,
      uid: randomUUID(),
      creationTimestamp: TIME,
      labels: { 'app.kubernetes.io/name': `service-${nth}` },
      managedFields: [managed('kubectl-client-side-apply', ['ports', 'selector', 'sessionAffinity', 'type'])],
    },
    spec: {
      ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 'http' }],
      selector: { 'app.kubernetes.io/name': `service-${nth}` },
      clusterIP: ip,
      clusterIPs: [ip],
      type: 'ClusterIP',
      sessionAffinity: 'None',
      ipFamilies: ['IPv4'],
    },
    status: { loadBalancer: {} },
  };
}

/** Returns the EndpointSlice of the nth Service, with `count` Pods starting at Pod number `from`. */
export function fullSlice(nth: number, from: number, count: number): ApiObject {
  const namespace = `team-${nth % 50}`;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `service-${nth}-x7k2p`,
      generateName: `service-${nth}-`,
      namespace,
      uid: randomUUID(),
      creationTimestamp: TIME,
      labels: {
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': `service-${nth}`,
      },
      managedFields: [managed('kube-controller-manager', ['addressType', 'endpoints', 'ports', 'ownerReferences'])],
    },
    addressType: 'IPv4',
    endpoints: Array.from({ length: count }, (_, index) => ({
      addresses: [ipOf(10, from + index)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${1 + (index % 9)}`,
      zone: `eu-central-1${'abc'[index % 3]}`,
      targetRef: {
        kind: 'Pod',
        namespace,
        name: `service-${nth}-7d9f8b6c5d-${index.toString(36).padStart(5, 'x')}`,
        uid: randomUUID(),
      },
    })),
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}
