import { labelsOf, textOf, textsOf } from './api_values.ts';
import type { Row } from './forms.ts';
import {
  type ApiMetadata,
  type ApiNode,
  METADATA,
  NODE,
  type Node,
  OBJECTS_MAX,
  POD,
  type Pod,
  trimNode,
  trimPod,
  ZONE,
} from './objects.ts';
import type { Resource } from './reflector.ts';
import type { Selecting } from './selectors.ts';

/** Objects of the whole cluster that own addresses. */

/** Text that the API server puts into a table cell without an address. */
const NO_CELL = '<none>';

interface ApiService {
  readonly metadata: ApiMetadata;
  readonly spec?: {
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly externalIPs?: readonly string[];
    readonly selector?: unknown;
  };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
}

/** An object with a name and addresses. */
export interface Addressed {
  readonly namespace: string;
  readonly name: string;
  readonly ips: readonly string[];
}

export const SERVICES: Resource<Addressed & Selecting> = {
  name: 'services',
  path: '/api/v1/services',
  list: 'stream',
  max: OBJECTS_MAX,
  keep: {
    metadata: METADATA,
    spec: { clusterIP: true, clusterIPs: true, externalIPs: true, selector: true },
    status: { loadBalancer: { ingress: { ip: true } } },
  },
  trim: ({ metadata, spec, status }: ApiService) => {
    const ingress = status?.loadBalancer?.ingress?.map(({ ip }) => ip) ?? [];
    const all = [...(spec?.clusterIPs ?? [spec?.clusterIP]), ...(spec?.externalIPs ?? []), ...ingress];
    const ips = textsOf(all).filter((ip) => ip !== 'None');
    if (ips.length === 0) return undefined;
    return { namespace: metadata.namespace ?? '', name: metadata.name, ips, selector: selectorOf(spec?.selector) };
  },
};

/**
 * Returns the labels of a selector. Returns undefined if it has no labels and therefore selects no Pods, or if it is
 * too long to keep.
 */
function selectorOf(given: unknown): Selecting['selector'] {
  const labels = labelsOf(given);
  const count = Object.keys(labels).length;
  // Dropping some labels of a selector would make it match more Pods.
  return count > 0 && count === Object.keys(given as object).length ? labels : undefined;
}

interface ApiEndpointSlice {
  readonly metadata: ApiMetadata;
  readonly addressType?: string;
  readonly endpoints?:
    | readonly {
        readonly addresses?: readonly string[];
        readonly nodeName?: string;
        readonly zone?: string;
        readonly conditions?: { readonly serving?: boolean; readonly terminating?: boolean };
        readonly targetRef?: { readonly kind?: string; readonly namespace?: string; readonly name?: string };
      }[]
    | null;
}

/** A Pod that a Service selects. */
export interface Endpoint extends Addressed {
  /** Name of the Service; empty if the slice does not belong to one. */
  readonly service: string;
  readonly zone: string;
  /** Whether the Pod is on this node. */
  readonly isHere: boolean;
}

/** Label of an EndpointSlice that contains the name of its Service. */
const SERVICE_NAME = 'kubernetes.io/service-name';

/** Pods in EndpointSlices. */
export function endpointSlices(thisNode: string): Resource<readonly Endpoint[]> {
  return {
    name: 'endpointslices',
    path: '/apis/discovery.k8s.io/v1/endpointslices',
    list: 'stream',
    max: OBJECTS_MAX,
    keep: {
      metadata: { ...METADATA, labels: { [SERVICE_NAME]: true } },
      addressType: true,
      endpoints: { addresses: true, nodeName: true, zone: true, conditions: true, targetRef: true },
    },
    trim: ({ metadata, addressType, endpoints }: ApiEndpointSlice) => {
      if (addressType === 'FQDN') return undefined;
      const service = textOf(metadata.labels?.[SERVICE_NAME]) ?? '';
      const pods = (endpoints ?? []).flatMap(({ addresses = [], nodeName, conditions, targetRef, ...endpoint }) => {
        // An ended Pod may briefly remain in a slice after its address has been assigned to another Pod.
        const hasEnded = conditions?.terminating === true && conditions.serving !== true;
        const name = textOf(targetRef?.name);
        if (hasEnded || targetRef?.kind !== 'Pod' || name === undefined) return [];
        // The API server does not validate target references. A reference to a Pod in another namespace is ignored, so
        // that a user with write access to EndpointSlices cannot assign the name of that Pod to an address.
        const { namespace = '' } = metadata;
        if (targetRef.namespace !== undefined && targetRef.namespace !== namespace) return [];
        const zone = textOf(endpoint.zone) ?? '';
        return [{ namespace, name, service, zone, ips: textsOf(addresses), isHere: nodeName === thisNode }];
      });
      return pods.length === 0 ? undefined : pods;
    },
  };
}

/**
 * How to request objects: as whole objects with all addresses, or as a table, which is smaller and has one address per
 * object.
 */
export type Requested = 'whole' | 'table';

const NODES_PATH = '/api/v1/nodes';
const NODE_IP_COLUMNS = ['Internal-IP', 'External-IP'];

/**
 * All nodes. Their labels are not kept.
 * @param hasZones whether to request the zones; without metadata, a table is smaller
 */
export function nodesOf(requested: Requested, hasZones: boolean): Resource<Node> {
  const metadata = { ...METADATA, labels: { [ZONE]: true } } as const;
  const resource = { name: 'nodes', path: NODES_PATH, list: 'cache', max: OBJECTS_MAX } as const;
  if (requested === 'whole') {
    const trim = (node: ApiNode) => ({ ...trimNode(node), labels: {} });
    return { ...resource, keep: { ...NODE, metadata }, trim };
  }
  return {
    ...resource,
    keep: { metadata },
    table: { columns: NODE_IP_COLUMNS, object: hasZones ? 'Metadata' : 'None' },
    trim: ({ metadata: { name, labels }, cells }: Row<ApiMetadata>) => ({
      name,
      labels: {},
      ips: addressesIn(NODE_IP_COLUMNS.map((column) => cells[column])),
      podCidrs: [],
      zone: textOf(labels?.[ZONE]) ?? '',
    }),
  };
}

/** A Pod on another node. */
export interface RemotePod extends Pod {
  /** Name of the node; empty if the Pod is not assigned to one. */
  readonly node: string;
}

/** The Pods on other nodes. Pods that have ended have no address, so they are not requested. */
export function remotePods(requested: Requested, thisNode: string): Resource<RemotePod> {
  const resource = {
    name: 'remote_pods',
    path: '/api/v1/pods',
    fieldSelector: `spec.nodeName!=${thisNode},status.phase!=Succeeded,status.phase!=Failed`,
    list: 'pages',
    max: OBJECTS_MAX,
  } as const;
  // The agent does not show the labels of these Pods. It needs only the label from which the name of a Deployment is
  // derived.
  const metadata = { ...POD.metadata, labels: { 'pod-template-hash': true } } as const;
  if (requested === 'whole') {
    const trim = (pod: Parameters<typeof trimPod>[0]) => ({ ...trimPod(pod), node: textOf(pod.spec?.nodeName) ?? '' });
    return { ...resource, keep: { ...POD, metadata }, trim };
  }
  return {
    ...resource,
    keep: { metadata },
    table: { columns: ['IP', 'Node'], object: 'Metadata' },
    trim: ({ metadata: given, cells }: Row<ApiMetadata>) => {
      const podIP = addressesIn([cells['IP']])[0];
      const [node = ''] = addressesIn([cells['Node']]);
      return { ...trimPod({ metadata: given, ...(podIP && { status: { podIP } }) }), node };
    },
  };
}

function addressesIn(cells: readonly (string | undefined)[]): string[] {
  return textsOf(cells).filter((cell) => cell !== NO_CELL);
}
