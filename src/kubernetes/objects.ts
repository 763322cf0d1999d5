import type { Owner } from '#pods/workload.ts';
import { labelsOf, textOf, textsOf } from './api_values.ts';
import type { Shape } from './json_prune.ts';
import type { Resource } from './reflector.ts';

/**
 * The fields of Kubernetes objects that netsonde reads (https://kubernetes.io/docs/reference/kubernetes-api/), and what
 * it keeps of them: a few hundred bytes per Pod instead of 10 kB. Fields that are not in any shape, such as environment
 * variables, are not parsed.
 */

interface ApiMetadata {
  readonly uid: string;
  readonly name: string;
  readonly namespace?: string;
  readonly creationTimestamp?: string;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly controller?: boolean }[];
}

interface ApiPod {
  readonly metadata: ApiMetadata;
  readonly spec?: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
  };
}

const METADATA = {
  uid: true,
  name: true,
  namespace: true,
  creationTimestamp: true,
  resourceVersion: true,
} as const satisfies Shape;

const POD = {
  metadata: {
    ...METADATA,
    labels: true,
    annotations: { 'kubernetes.io/config.mirror': true },
    ownerReferences: { kind: true, name: true, controller: true },
  },
  spec: { nodeName: true, hostNetwork: true },
  status: { phase: true, podIP: true, podIPs: { ip: true } },
} as const satisfies Shape;

export interface Pod {
  /** UID as it appears in the cgroup path. */
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner: Owner | undefined;
  /** Milliseconds since the epoch. */
  readonly createdMs: number;
  /** Whether the Pod uses the node's network. */
  readonly hostNetwork: boolean;
  /** Addresses in the Pod's own network. Empty if the Pod uses the node's network or has ended. */
  readonly ips: readonly string[];
}

const CONFIG_MIRROR = 'kubernetes.io/config.mirror';
/** Hash of a static Pod's manifest, or the UID that the manifest sets. */
const CONFIG_UID = /^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/**
 * Returns the UID that the kubelet uses for cgroups. A static Pod appears in the API as a mirror with a different UID,
 * and an annotation of the mirror contains the kubelet's UID (kubelet, pkg/kubelet/pod/mirror_client.go). Because users
 * can write annotations, a Pod that really has the UID takes precedence (`PodsFeed`).
 */
function cgroupUid({ uid, annotations }: ApiMetadata): string {
  const mirrored = annotations?.[CONFIG_MIRROR];
  return mirrored !== undefined && CONFIG_UID.test(mirrored) ? mirrored : uid;
}

export function trimPod({ metadata, spec, status }: ApiPod): Pod {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  const hasEnded = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  const ips = status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP];
  return {
    uid: cgroupUid(metadata),
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    labels: labelsOf(metadata.labels),
    owner: owner === undefined ? undefined : { kind: textOf(owner.kind) ?? '', name: textOf(owner.name) ?? '' },
    createdMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
    hostNetwork: spec?.hostNetwork === true,
    ips: spec?.hostNetwork === true || hasEnded ? [] : textsOf(ips),
  };
}

/**
 * Maximum number of Pods of one node, including ended Pods. By default, a cluster keeps up to 12,500 ended Pods
 * (`--terminated-pod-gc-threshold`).
 */
const PODS_MAX = 20_000;
/** Maximum number of objects of other kinds, enough for the largest clusters. */
const OBJECTS_MAX = 100_000;
/** Maximum number of objects for a request by name. */
const NAMED_MAX = 16;

export function podsOf(node: string): Resource<Pod> {
  return {
    name: 'pods',
    path: '/api/v1/pods',
    // Includes ended Pods, because their namespaces may still exist.
    fieldSelector: `spec.nodeName=${node}`,
    list: 'cache',
    max: PODS_MAX,
    keep: POD,
    trim: trimPod,
  };
}

interface ApiNode {
  readonly metadata: ApiMetadata;
  readonly spec?: { readonly podCIDR?: string; readonly podCIDRs?: readonly string[] };
  readonly status?: { readonly addresses?: readonly { readonly type: string; readonly address: string }[] };
}

const NODE = {
  metadata: { ...METADATA, labels: true },
  spec: { podCIDR: true, podCIDRs: true },
  status: { addresses: true },
} as const satisfies Shape;

export interface Node {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
  readonly podCidrs: readonly string[];
}

function trimNode({ metadata, spec, status }: ApiNode): Node {
  return {
    name: metadata.name,
    labels: labelsOf(metadata.labels),
    ips: textsOf((status?.addresses ?? []).filter(({ type }) => type.endsWith('IP')).map(({ address }) => address)),
    podCidrs: textsOf(spec?.podCIDRs ?? [spec?.podCIDR]),
  };
}

export function ownNode(name: string): Resource<Node> {
  const fieldSelector = `metadata.name=${name}`;
  return {
    name: 'node',
    path: '/api/v1/nodes',
    fieldSelector,
    list: 'cache',
    max: NAMED_MAX,
    keep: NODE,
    trim: trimNode,
  };
}

/** All nodes, without their labels. */
export const NODES: Resource<Node> = {
  name: 'nodes',
  path: '/api/v1/nodes',
  list: 'cache',
  max: OBJECTS_MAX,
  keep: { ...NODE, metadata: METADATA },
  trim: (node: ApiNode) => ({ ...trimNode(node), labels: {} }),
};

interface ApiService {
  readonly metadata: ApiMetadata;
  readonly spec?: {
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly externalIPs?: readonly string[];
  };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
}

/** An object with a name and addresses. */
export interface Addressed {
  readonly namespace: string;
  readonly name: string;
  readonly ips: readonly string[];
}

export const SERVICES: Resource<Addressed> = {
  name: 'services',
  path: '/api/v1/services',
  list: 'cache',
  max: OBJECTS_MAX,
  keep: {
    metadata: METADATA,
    spec: { clusterIP: true, clusterIPs: true, externalIPs: true },
    status: { loadBalancer: { ingress: { ip: true } } },
  },
  trim: ({ metadata, spec, status }: ApiService) => {
    const ingress = status?.loadBalancer?.ingress?.map(({ ip }) => ip) ?? [];
    const all = [...(spec?.clusterIPs ?? [spec?.clusterIP]), ...(spec?.externalIPs ?? []), ...ingress];
    const ips = textsOf(all).filter((ip) => ip !== 'None');
    return ips.length === 0 ? undefined : { namespace: metadata.namespace ?? '', name: metadata.name, ips };
  },
};

interface ApiEndpointSlice {
  readonly metadata: ApiMetadata;
  readonly addressType?: string;
  readonly endpoints?:
    | readonly {
        readonly addresses?: readonly string[];
        readonly nodeName?: string;
        readonly conditions?: { readonly serving?: boolean; readonly terminating?: boolean };
        readonly targetRef?: { readonly kind?: string; readonly namespace?: string; readonly name?: string };
      }[]
    | null;
}

/**
 * Pods in EndpointSlices, except those on this node, because the list of Pods contains these earlier and in more
 * detail.
 */
export function endpointSlices(thisNode: string): Resource<readonly Addressed[]> {
  return {
    name: 'endpointslices',
    path: '/apis/discovery.k8s.io/v1/endpointslices',
    list: 'pages',
    max: OBJECTS_MAX,
    keep: {
      metadata: METADATA,
      addressType: true,
      endpoints: { addresses: true, nodeName: true, conditions: true, targetRef: true },
    },
    trim: ({ metadata, addressType, endpoints }: ApiEndpointSlice) => {
      if (addressType === 'FQDN') return undefined;
      const pods = (endpoints ?? []).flatMap(({ addresses = [], nodeName, conditions, targetRef }) => {
        // An ended Pod may briefly remain in a slice after its address has been assigned to another Pod.
        const hasEnded = conditions?.terminating === true && conditions.serving !== true;
        const name = textOf(targetRef?.name);
        if (hasEnded || nodeName === thisNode || targetRef?.kind !== 'Pod' || name === undefined) return [];
        // The API server does not validate target references. A reference to a Pod in a different namespace is ignored,
        // so that a user who may write slices cannot name Pods in other namespaces.
        const { namespace = '' } = metadata;
        if (targetRef.namespace !== undefined && targetRef.namespace !== namespace) return [];
        return [{ namespace, name, ips: textsOf(addresses) }];
      });
      return pods.length === 0 ? undefined : pods;
    },
  };
}

interface ApiConfigMap {
  readonly metadata: ApiMetadata;
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

export interface ConfigMap {
  readonly uid: string;
  readonly resourceVersion: string;
  /** Value of the key. Undefined if the key does not exist or its value is not text. */
  readonly text: string | undefined;
  /** Whether the key exists, but its value is not text. */
  readonly isBinary: boolean;
  readonly keys: readonly string[];
}

export function configMap(namespace: string, name: string, key: string): Resource<ConfigMap> {
  return {
    name: 'configmaps',
    path: `/api/v1/namespaces/${namespace}/configmaps`,
    fieldSelector: `metadata.name=${name}`,
    list: 'cache',
    max: NAMED_MAX,
    keep: { metadata: METADATA, data: true, binaryData: true },
    trim: ({ metadata, data, binaryData }: ApiConfigMap) => {
      const binary = ownText(binaryData, key);
      const text = ownText(data, key) ?? (binary === undefined ? undefined : textIn(binary));
      return {
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion ?? '',
        text,
        isBinary: text === undefined && binary !== undefined,
        keys: Object.keys({ ...data, ...binaryData }),
      };
    },
  };
}

/** Returns only an own property, because the key may be the name of an inherited property, such as `constructor`. */
function ownText(texts: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  return texts !== undefined && Object.hasOwn(texts, key) ? texts[key] : undefined;
}

/** Decodes base64 to UTF-8 text; undefined if it is not text. */
function textIn(base64: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'));
  } catch {
    return undefined;
  }
}
