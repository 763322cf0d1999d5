import type { EntityStatus } from '#api/entities.ts';
import type { Peer } from '#api/events.ts';
import type { MapEdge, MapNode } from '#api/map.ts';
import { namesText } from '#core/dns_names.ts';

/** An edge of `/api/v1/flows`, with the Pod, its workload, and the address of the peer. */
export interface FlowName {
  readonly namespace: string | null;
  readonly pod: string | null;
  readonly workload?: string | null;
  readonly peer: string;
  readonly peerKind?: string | null;
  readonly peerNamespace?: string | null;
  readonly peerName?: string | null;
  readonly dnsNames?: readonly string[] | undefined;
  readonly role?: string;
  readonly port?: number | null;
}

type EdgeEnds = Pick<MapEdge, 'source' | 'target' | 'port'>;

function edgeKey({ source, target, port }: EdgeEnds): string {
  return `${source} > ${target} : ${port}`;
}

type MapIdentity = Pick<MapNode, 'kind' | 'namespace' | 'name'>;

const ADDRESSES_MAX = 50_000;
/** Maximum number of addresses outside of the cluster to keep for each edge. */
const OUTSIDE_MAX = 100;

/** Finds the box of an address or Pod that is named in an event. Lookups return undefined if no box is known. */
export class Directory {
  readonly #byName = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #workloads = new Map<string, string>();
  readonly #byAddress = new Map<string, string>();
  readonly #outside = new Map<string, Set<string>>();

  constructor(nodes: readonly MapNode[], entities: readonly EntityStatus[], flows: readonly FlowName[]) {
    for (const { id, kind, namespace, name, services } of nodes) {
      const keys = [nameKey(kind, namespace, name), ...services.map((each) => nameKey('service', namespace, each))];
      for (const key of keys) if (!this.#byName.has(key)) this.#byName.set(key, id);
      this.#names.set(id, `${namespace}/${name}`);
    }
    for (const { namespace, pod, workload } of flows) {
      if (pod !== null && typeof workload === 'string') this.#workloads.set(`${namespace ?? ''}/${pod}`, workload);
    }
    this.#learn(entities, flows);
  }

  #learn(entities: readonly EntityStatus[], flows: readonly FlowName[]): void {
    for (const flow of flows) {
      const { peer, peerKind } = flow;
      if (typeof peerKind !== 'string') continue;
      const id = this.#boxOf(flow, peerKind);
      this.#remember(peer, id);
      if (peerKind === 'external' && id !== undefined) this.#learnOutside(flow, id);
    }
    for (const { namespace, pod, ips } of entities) {
      const id = this.ofPod(namespace, pod);
      for (const ip of ips) if (!isShared(ip)) this.#remember(ip, id);
    }
  }

  /** Returns the box of an edge's peer. The map does not show all names by DNS. */
  #boxOf({ peerNamespace, peerName, dnsNames = [] }: FlowName, kind: string): string | undefined {
    const idOf = (name: string) => this.#byName.get(nameKey(kind, peerNamespace ?? '', name));
    return (dnsNames.length === 0 ? undefined : idOf(namesText(dnsNames))) ?? idOf(peerName ?? '');
  }

  #learnOutside({ namespace, pod, role, peer, port = null }: FlowName, id: string): void {
    const own = pod === null ? undefined : this.ofPod(namespace ?? '', pod);
    if (own === undefined) return;
    const [source, target] = role === 'client' ? [own, id] : [id, own];
    const key = edgeKey({ source, target, port });
    const known = this.#outside.get(key) ?? new Set();
    this.#outside.set(key, known);
    if (known.size < OUTSIDE_MAX) known.add(peer);
  }

  /** Returns the addresses of the end of an edge that is outside of the cluster, those with the worst edges first. */
  outsideOf(edge: EdgeEnds): readonly string[] {
    return [...(this.#outside.get(edgeKey(edge)) ?? [])];
  }

  #remember(ip: string, id: string | undefined): void {
    if (id !== undefined && this.#byAddress.size < ADDRESSES_MAX) this.#byAddress.set(ip, id);
  }

  /** @param pod name of the Pod; empty for the node */
  ofPod(namespace: string, pod: string): string | undefined {
    const workload = this.#workloads.get(`${namespace}/${pod}`) ?? pod;
    return this.#byName.get(nameKey('workload', namespace, workload));
  }

  /** The box of a Pod may be that of the Pod, its workload or its Service. */
  ofPeer(peer: Omit<Peer, 'ip'>): string | undefined {
    const { kind, namespace, name } = peer;
    const identity = identityOf(peer);
    const id =
      this.#byName.get(nameKey(kind, namespace, name)) ??
      this.#byName.get(nameKey(identity.kind, namespace, identity.name));
    return id ?? (kind === 'pod' ? this.ofPod(namespace, name) : undefined);
  }

  /** Returns the namespace and name of a box; empty if there is no such box. */
  nameOf(id: string): string {
    return this.#names.get(id) ?? '';
  }

  ofAddress(ip: string): string | undefined {
    return this.#byAddress.get(ip);
  }
}

/** Returns the identity under which the map shows the owner of an address. */
export function identityOf({ kind, namespace, name, workload, service }: Omit<Peer, 'ip'>): MapIdentity {
  if (workload !== undefined) return { kind: 'workload', namespace, name: workload };
  return service === undefined ? { kind, namespace, name } : { kind: 'service', namespace, name: service };
}

/** Whether the address can exist in every network namespace. */
export function isShared(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1' || ip.startsWith('fe80:');
}

/**
 * Kinds of peers that are running entities. They have the same key format, so a lookup by name finds a box of any of
 * these kinds.
 */
const RUNNING = ['workload', 'pod', 'local', 'self', 'node'];

function nameKey(kind: string, namespace: string, name: string): string {
  return `${RUNNING.includes(kind) ? 'workload' : kind} ${namespace}/${name}`;
}
