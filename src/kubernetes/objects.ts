import type { Owner } from '#pods/workload.ts';
import { labelsOf, textOf, textsOf } from './api_values.ts';
import type { Shape } from './json_prune.ts';
import type { Resource } from './reflector.ts';

/**
 * The fields that netsonde reads of objects of the Kubernetes API (https://kubernetes.io/docs/reference/kubernetes-api/), and what it
 * keeps of them: a Pod of 10 kB leaves a few hundred bytes. Fields that no shape names, like the environment of containers, are not even
 * parsed.
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
  /** In the form of the cgroup path. */
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner: Owner | undefined;
  /** Milliseconds since the epoch. */
  readonly createdMs: number;
  /** It uses the node's network. */
  readonly hostNetwork: boolean;
  /** Addresses of its own network; empty where it uses the node's, and where it has ended. */
  readonly ips: readonly string[];
}

const CONFIG_MIRROR = 'kubernetes.io/config.mirror';
/** The hash of a manifest, or the UID that a manifest has. */
const CONFIG_UID = /^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/**
 * The API shows a static Pod as a mirror that the kubelet makes, with a UID of its own; an annotation has the UID of the Pod (kubelet,
 * pkg/kubelet/pod/mirror_client.go). Others may write annotations as well: a Pod that has the UID itself takes precedence over a mirror
 * (`PodsFeed`).
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

/** Maximum number of Pods of one node, including ended ones, of which a cluster keeps 12,500 (`--terminated-pod-gc-threshold`). */
const PODS_MAX = 20_000;
/** Maximum number of objects of other kinds, in the largest clusters. */
const OBJECTS_MAX = 100_000;
/** Maximum number of objects of kinds that are requested by name. */
const NAMED_MAX = 16;

export function podsOf(node: string): Resource<Pod> {
  return {
    name: 'pods',
    path: '/api/v1/pods',
    // Ended Pods are kept, too: the namespace of one may live on.
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

/** Labels of other Pods are not needed. */
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

/** An object that has a name and addresses. */
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

/** The Pods of a slice that are not on this node: the list of Pods knows more about those on it, and earlier. */
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
        // An ended Pod may stay in a slice for a moment, while another has its address already.
        const hasEnded = conditions?.terminating === true && conditions.serving !== true;
        const name = textOf(targetRef?.name);
        if (hasEnded || nodeName === thisNode || targetRef?.kind !== 'Pod' || name === undefined) return [];
        // Nobody checks the names in a slice: a user who may write slices in one namespace may name Pods only of that one.
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
  /** Undefined where it has no such key, or no text there. */
  readonly text: string | undefined;
  /** The key exists, but its value is not a text. */
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

/** The key may be one that every object has, like `constructor`. */
function ownText(texts: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  return texts !== undefined && Object.hasOwn(texts, key) ? texts[key] : undefined;
}

/** Returns the text encoded in base64, as a volume would have it in a file. */
function textIn(base64: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'));
  } catch {
    return undefined;
  }
}
