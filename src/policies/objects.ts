import type { Labels } from '#core/selector.ts';
import type { ContainerPort } from './connection.ts';
import { type Fields, isFields } from './fields.ts';
import { PROTOCOLS, type Protocol } from './model.ts';
import { type Address, parseAddress } from './network.ts';

/** Facts about a Pod that determine which policies apply to it. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly ports: readonly ContainerPort[];
  readonly isHostNetwork: boolean;
  /** Addresses; undefined if the Pod has none yet, or has ended. */
  readonly addresses: readonly Address[] | undefined;
  /** Name of the node; undefined if the Pod is not assigned to one yet. */
  readonly node: string | undefined;
  /** Addresses of the node; undefined if unknown. */
  readonly hostAddresses: readonly Address[] | undefined;
}

export interface NodeFacts {
  readonly name: string;
  readonly labels: Labels;
  readonly addresses: readonly Address[];
}

/** Facts about a Service. Its Pods are those that have all labels of its selector. */
export interface ServiceFacts {
  readonly namespace: string;
  readonly name: string;
  /** Labels of the selector; undefined if the Service selects no Pods. */
  readonly selector: Labels | undefined;
  readonly addresses: readonly Address[];
  readonly ports: readonly ServicePort[];
}

interface ServicePort {
  readonly port: number;
  readonly protocol: Protocol;
  /** Port number of the Pods; undefined for a named port, whose number may differ between Pods. */
  readonly target: number | undefined;
}

/** Maximum length of an object's name. */
const NAME_MAX = 253;
const DEFAULT_NAMESPACE = 'default';
/** Maximum number of labels to read from an object. */
const LABELS_MAX = 1_000;

/** Returns the name of a Kubernetes object. @throws if it has none */
export function nameOf(object: unknown, kind: string): { readonly namespace: string; readonly name: string } {
  const { metadata } = isFields(object) ? object : {};
  const { name, namespace = DEFAULT_NAMESPACE } = isFields(metadata) ? metadata : {};
  const isName = (text: unknown): text is string => typeof text === 'string' && text !== '' && text.length <= NAME_MAX;
  if (!isName(name) || !isName(namespace)) throw new Error(`a ${kind} without a name, or with a name that is too long`);
  return { namespace, name };
}

/** Returns those labels of an object whose values are strings. */
export function labelsIn(object: unknown): Labels {
  const { metadata } = isFields(object) ? object : {};
  const { labels } = isFields(metadata) ? metadata : {};
  const all = Object.entries(isFields(labels) ? labels : {}).slice(0, LABELS_MAX);
  return Object.fromEntries(all.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** Returns the facts about a Pod. @throws if the object has no name */
export function podFacts(object: unknown): PodFacts {
  const { namespace, name } = nameOf(object, 'Pod');
  const { spec, status } = isFields(object) ? object : {};
  const { hostNetwork, nodeName } = isFields(spec) ? spec : {};
  const { phase, podIP, podIPs, hostIP, hostIPs } = isFields(status) ? status : {};
  const hasEnded = phase === 'Succeeded' || phase === 'Failed';
  const addresses = hasEnded ? [] : addressesIn(podIPs, podIP);
  const hostAddresses = addressesIn(hostIPs, hostIP);
  return {
    namespace,
    name,
    labels: labelsIn(object),
    ports: portsOf(spec),
    isHostNetwork: hostNetwork === true,
    addresses: addresses.length > 0 ? addresses : undefined,
    node: typeof nodeName === 'string' && nodeName !== '' ? nodeName : undefined,
    hostAddresses: hostAddresses.length > 0 ? hostAddresses : undefined,
  };
}

/** Returns the facts about a node. @throws if the object has no name */
export function nodeFacts(object: unknown): NodeFacts {
  const { status } = isFields(object) ? object : {};
  const { addresses } = isFields(status) ? status : {};
  const given = (Array.isArray(addresses) ? addresses : []).flatMap((one) => (isFields(one) ? [one['address']] : []));
  return { name: nameOf(object, 'Node').name, labels: labelsIn(object), addresses: given.flatMap(addressOf) };
}

/** Returns the facts about a Service. @throws if the object has no name */
export function serviceFacts(object: unknown): ServiceFacts {
  const { namespace, name } = nameOf(object, 'Service');
  const { spec } = isFields(object) ? object : {};
  const { selector, clusterIP, clusterIPs, externalIPs, ports } = isFields(spec) ? spec : {};
  const labels = labelsIn({ metadata: { labels: selector } });
  const texts = [clusterIPs ?? [clusterIP], externalIPs].flatMap((list) => (Array.isArray(list) ? list : []));
  return {
    namespace,
    name,
    selector: Object.keys(labels).length > 0 ? labels : undefined,
    addresses: texts.flatMap(addressOf),
    ports: (Array.isArray(ports) ? ports : []).filter(isFields).flatMap(servicePortOf),
  };
}

function servicePortOf({ port, targetPort = port, protocol = 'TCP' }: Fields): ServicePort[] {
  const known = PROTOCOLS.find((one) => one === protocol);
  if (typeof port !== 'number' || known === undefined) return [];
  return [{ port, protocol: known, target: typeof targetPort === 'number' ? targetPort : undefined }];
}

/**
 * Returns the addresses of a Pod.
 * @param list list of objects with the field `ip`
 * @param single the first address, which older API versions provide instead of the list
 */
function addressesIn(list: unknown, single: unknown): Address[] {
  const many = (Array.isArray(list) ? list : []).flatMap((one) => (isFields(one) ? [one['ip']] : []));
  return (many.length > 0 ? many : [single]).flatMap(addressOf);
}

function addressOf(text: unknown): Address[] {
  const address = typeof text === 'string' ? parseAddress(text) : undefined;
  return address === undefined ? [] : [address];
}

/**
 * Returns the ports of all containers that run at the same time. An init container does so if its restart policy is
 * Always.
 */
function portsOf(spec: unknown): ContainerPort[] {
  const { containers, initContainers } = isFields(spec) ? spec : {};
  const listed = (list: unknown) => (Array.isArray(list) ? list : []).filter(isFields);
  const sidecars = listed(initContainers).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...listed(containers), ...sidecars].flatMap(({ ports }) =>
    listed(ports).flatMap(({ name, containerPort, protocol = 'TCP' }) => {
      const known = PROTOCOLS.find((one) => one === protocol);
      if (typeof name !== 'string' || typeof containerPort !== 'number' || known === undefined) return [];
      return [{ name, port: containerPort, protocol: known }];
    }),
  );
}
