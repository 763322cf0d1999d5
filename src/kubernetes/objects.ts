import type { Owner } from '#pods/workload.ts';
import { labelsOf, textOf, textsOf } from './api_values.ts';
import type { Shape } from './json_prune.ts';
import type { Resource } from './reflector.ts';

/**
 * Fields of Kubernetes objects that netsonde reads (https://kubernetes.io/docs/reference/kubernetes-api/), and the data
 * that it keeps from them: a few hundred bytes per Pod instead of 10 kB. Fields that are not in any shape, such as
 * environment variables, are not parsed.
 */

export interface ApiMetadata {
  readonly uid: string;
  readonly name: string;
  readonly namespace?: string;
  readonly creationTimestamp?: string;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly controller?: boolean }[];
}

export interface ApiPod {
  readonly metadata: ApiMetadata;
  readonly spec?: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
  };
}

export const METADATA = {
  uid: true,
  name: true,
  namespace: true,
  creationTimestamp: true,
  resourceVersion: true,
} as const satisfies Shape;

export const POD = {
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
  /** Creation time in milliseconds since the epoch. */
  readonly createdMs: number;
  /** Whether the Pod uses the network namespace of its node. */
  readonly hostNetwork: boolean;
  /** Addresses of the Pod itself. Empty if the Pod uses the network namespace of its node, or has ended. */
  readonly ips: readonly string[];
}

const CONFIG_MIRROR = 'kubernetes.io/config.mirror';
/** Hash of a static Pod's manifest, or the UID that the manifest sets. */
const CONFIG_UID = /^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/**
 * Returns the UID that the kubelet uses in cgroup paths. A static Pod appears in the API as a mirror Pod with a
 * different UID, and an annotation of the mirror Pod contains the kubelet's UID (kubelet,
 * pkg/kubelet/pod/mirror_client.go). Because users can write annotations, a Pod that actually has the UID takes
 * precedence (`PodsFeed`).
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
/** Maximum number of objects of other kinds. It is sufficient for the largest clusters. */
export const OBJECTS_MAX = 100_000;
/** Maximum number of objects in the response to a request by name. */
const NAMED_MAX = 16;

export function podsOf(node: string): Resource<Pod> {
  return {
    name: 'pods',
    path: '/api/v1/pods',
    // Ended Pods are not excluded, because their namespaces may still exist.
    fieldSelector: `spec.nodeName=${node}`,
    list: 'cache',
    max: PODS_MAX,
    keep: POD,
    trim: trimPod,
  };
}

export interface ApiNode {
  readonly metadata: ApiMetadata;
  readonly spec?: { readonly podCIDR?: string; readonly podCIDRs?: readonly string[] };
  readonly status?: { readonly addresses?: readonly { readonly type: string; readonly address: string }[] };
}

export const NODE = {
  metadata: { ...METADATA, labels: true },
  spec: { podCIDR: true, podCIDRs: true },
  status: { addresses: true },
} as const satisfies Shape;

export interface Node {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
  readonly podCidrs: readonly string[];
  /** Zone of the node; empty if it is unknown. */
  readonly zone: string;
}

/** Label of a node that contains the name of its zone. */
export const ZONE = 'topology.kubernetes.io/zone';

export function trimNode({ metadata, spec, status }: ApiNode): Node {
  return {
    name: metadata.name,
    labels: labelsOf(metadata.labels),
    ips: textsOf((status?.addresses ?? []).filter(({ type }) => type.endsWith('IP')).map(({ address }) => address)),
    podCidrs: textsOf(spec?.podCIDRs ?? [spec?.podCIDR]),
    zone: textOf(metadata.labels?.[ZONE]) ?? '',
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

/**
 * Returns the value of a key. Ignores inherited properties, because the key may be the name of one, such as
 * `constructor`.
 */
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
