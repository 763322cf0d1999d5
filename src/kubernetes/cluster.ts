import { AddressBook, type AddressOwner, type OwnerKind } from '#peers/address_book.ts';
import type { PeerLookup, Peers } from '#peers/peer.ts';
import { isPublic, networks } from '#peers/public.ts';
import type { PodName, PodsUpdate } from '#pods/facts.ts';
import type { ApiSession } from './api.ts';
import { nearNode } from './node_name.ts';
import { type Addressed, endpointSlices, NODES, type Node, ownNode, type Pod, podsOf, SERVICES } from './objects.ts';
import { PodsFeed } from './pods_feed.ts';
import { type Follower, Reflector, type ReflectorLog, type Resource, type Timing } from './reflector.ts';
import type { ResourceTally } from './tally.ts';

export interface ClusterOptions {
  readonly session: ApiSession;
  /** Name of this node. */
  readonly node: string;
  readonly log: ReflectorLog;
  readonly pods: (update: PodsUpdate) => void;
  readonly nodeLabels: (labels: Readonly<Record<string, string>>) => void;
  /** Called with the networks of the Pods on this node when they change. */
  readonly podNetworks: (networks: readonly string[]) => void;
  /** Maximum random delay in milliseconds before requests that all agents may send at the same time. */
  readonly spreadMs?: number;
}

export interface ClusterState {
  /** Whether the Pods of this node are watched. */
  readonly connected: boolean;
  /** Problem with the connection, and what to do about it; undefined if there is none. */
  readonly trouble: string | undefined;
  readonly resources: readonly ResourceTally[];
  readonly addresses: number;
  readonly addressesLeftOut: number;
}

/** Lists of the whole cluster start after a random delay, because all agents may have started at the same time. */
const CLUSTER_TIMING: Partial<Timing> = { startJitterMs: 30_000, answerMs: 30_000, relistMs: 4 * 3_600_000 };

type AnyReflector = AsyncDisposable & { readonly tally: ResourceTally };

/**
 * Watches the Kubernetes API objects that the agent needs: its node, the Pods on the node, and the owners of addresses.
 */
export class Cluster implements AsyncDisposable {
  readonly #options: ClusterOptions;
  readonly #feed: PodsFeed;
  readonly #own: readonly AnyReflector[];
  /** Addresses of this node and its Pods. */
  readonly #near = new AddressBook();
  #peers: Peers = 'off';
  #wide: WideBook | undefined;
  /** UID of the API object for this node. Empty if there is none. */
  readonly #nodes = new Set<string>();
  /**
   * Description of the problem if the API has no node with this name. Undefined if it has one, or if that is not known
   * yet.
   */
  #unknownNode: string | undefined;
  #ownNetworks: readonly string[] = [];
  readonly #ending = new AbortController();
  #listed: () => void = () => undefined;
  readonly #podsListed = new Promise<void>((resolve) => {
    this.#listed = resolve;
  });

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#feed = new PodsFeed(options.pods);
    this.#own = [
      this.#follow(podsOf(options.node), this.#podsFollower()),
      this.#follow(ownNode(options.node), this.#nodeFollower()),
    ];
  }

  /** Resolves once the Pods have been listed for the first time, or after `withinMs` milliseconds. */
  async listed(withinMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    await Promise.race([this.#podsListed, late]);
    clearTimeout(timer);
  }

  get pods(): readonly PodName[] {
    return this.#feed.all;
  }

  get state(): ClusterState {
    const resources = [...this.#own, ...(this.#wide?.reflectors ?? [])].map(({ tally }) => tally);
    const books = this.#wide === undefined ? [this.#near] : [this.#near, this.#wide.book];
    return {
      connected:
        this.#unknownNode === undefined &&
        resources.every(({ resource, isConnected }) => resource !== 'pods' || isConnected),
      trouble: troubleOf(resources) ?? this.#unknownNode,
      resources,
      addresses: books.reduce((sum, { size }) => sum + size, 0),
      addressesLeftOut: books.reduce((sum, { leftOut }) => sum + leftOut, 0),
    };
  }

  async setPeers(peers: Peers): Promise<void> {
    this.#peers = peers;
    const wide = this.#wide;
    if (peers === 'cluster') {
      this.#wide ??= new WideBook(this.#options.node, (resource, follower) =>
        this.#follow(resource, follower, CLUSTER_TIMING),
      );
    } else if (wide !== undefined) {
      this.#wide = undefined;
      await wide[Symbol.asyncDispose]();
    }
  }

  /** Finds the owners of addresses that are known now; undefined if `peers` is off. */
  get peers(): PeerLookup | undefined {
    if (this.#peers === 'off') return undefined;
    const wide = this.#wide;
    return {
      find: (ip) => this.#near.find(ip) ?? wide?.book.find(ip),
      isLocal: (namespace, pod) => this.#feed.has(namespace, pod),
      isExternal: wide?.isWhole === true ? (ip) => !wide.isPodNetwork(ip) : undefined,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new Error('closed'));
    this.#feed[Symbol.dispose]();
    await Promise.all(
      [...this.#own, ...(this.#wide === undefined ? [] : [this.#wide])].map((part) => part[Symbol.asyncDispose]()),
    );
  }

  #follow<T>(resource: Resource<T>, follower: Follower<T>, timing: Partial<Timing> = {}): Reflector<T> {
    return new Reflector(this.#options.session, resource, follower, this.#options.log, timing);
  }

  #podsFollower(): Follower<Pod> {
    return {
      set: (object, pod) => {
        this.#feed.set(object, pod);
        this.#near.set(object, [{ kind: 'pod', ...pod }]);
      },
      delete: (object) => {
        this.#feed.delete(object);
        this.#near.delete(object);
      },
      listed: () => {
        this.#feed.flush();
        this.#listed();
      },
    };
  }

  #nodeFollower(): Follower<Node> {
    return {
      set: (object, node) => {
        this.#near.set(object, [nodeOwner(node)]);
        this.#options.nodeLabels(node.labels);
        this.#setPodNetworks(node.podCidrs);
        this.#nodes.add(object);
        if (this.#unknownNode === undefined) return;
        this.#unknownNode = undefined;
        this.#options.log('info', `node: ${this.#options.session.server} now has the node ${node.name}`);
      },
      delete: (object) => {
        this.#near.delete(object);
        this.#nodes.delete(object);
      },
      listed: () => {
        if (this.#nodes.size === 0) void this.#missNode();
      },
    };
  }

  #setPodNetworks(networks: readonly string[]): void {
    if (networks.join() === this.#ownNetworks.join()) return;
    this.#ownNetworks = networks;
    this.#options.podNetworks(networks);
  }

  /** Reports that the API has no node with this name. No request fails in this case, but no Pods are found. */
  async #missNode(): Promise<void> {
    if (this.#unknownNode !== undefined) return;
    const { session, node, log, spreadMs } = this.#options;
    const unknown = `${session.server} has no node ${node}, so Pods have no names; set NODE_NAME to spec.nodeName`;
    this.#unknownNode = unknown;
    const hint = await nearNode(session, node, this.#ending.signal, spreadMs).catch(() => '');
    // The node may have been created in the meantime.
    if (this.#nodes.size > 0 || this.#ending.signal.aborted) return;
    this.#unknownNode = hint === '' ? unknown : `${unknown}; ${hint}`;
    log('warn', `node: ${this.#unknownNode}`);
  }
}

/** Returns one of the problems, preferably that of the Pods. */
function troubleOf(resources: readonly ResourceTally[]): string | undefined {
  const troubles = resources.filter(({ trouble }) => trouble !== undefined);
  const [first] = troubles.sort((a, b) => Number(b.resource === 'pods') - Number(a.resource === 'pods'));
  return first && `${first.resource}: ${first.trouble}`;
}

function nodeOwner({ name, ips }: Node): AddressOwner {
  return { kind: 'node', namespace: '', name, createdMs: 0, ips };
}

type Follow = <T>(resource: Resource<T>, follower: Follower<T>) => AnyReflector;

/** Addresses of the whole cluster. */
class WideBook implements AsyncDisposable {
  readonly book = new AddressBook();
  readonly reflectors: readonly AnyReflector[];
  readonly #unlisted = new Set<string>();
  readonly #podNetworks = new Map<string, readonly string[]>();
  #isPodNetwork: ((ip: string) => boolean) | undefined;

  constructor(node: string, follow: Follow) {
    const watch = <T>(resource: Resource<T>, set: Follower<T>['set']) =>
      follow(resource, this.#follower(resource, set));
    this.reflectors = [
      watch(NODES, (object, found) => this.#setNode(object, found)),
      watch(SERVICES, (object, service) => this.book.set(object, [owner('service', service)])),
      watch(endpointSlices(node), (object, pods) => {
        const owners = pods.map((pod) => owner('pod', pod));
        this.book.set(object, owners);
      }),
    ];
  }

  /** Whether all addresses of the cluster are known. */
  get isWhole(): boolean {
    return this.#unlisted.size === 0 && this.book.leftOut === 0;
  }

  /** Whether an address is in a network that a node assigns to its Pods. */
  isPodNetwork(ip: string): boolean {
    this.#isPodNetwork ??= networks([...this.#podNetworks.values()].flat());
    return this.#isPodNetwork(ip);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.reflectors.map((reflector) => reflector[Symbol.asyncDispose]()));
  }

  #follower<T>({ name }: Resource<T>, set: Follower<T>['set']): Follower<T> {
    this.#unlisted.add(name);
    return {
      set,
      delete: (object) => {
        this.book.delete(object);
        if (this.#podNetworks.delete(object)) this.#isPodNetwork = undefined;
      },
      listed: () => void this.#unlisted.delete(name),
    };
  }

  #setNode(object: string, node: Node): void {
    this.book.set(object, [nodeOwner(node)]);
    // Only public networks matter, because private addresses are never considered external.
    const cidrs = node.podCidrs.filter((cidr) => isPublic(cidr.split('/', 1)[0] ?? ''));
    const before = this.#podNetworks.get(object) ?? [];
    if (cidrs.join() === before.join()) return;
    this.#podNetworks.set(object, cidrs);
    this.#isPodNetwork = undefined;
  }
}

function owner(kind: OwnerKind, { namespace, name, ips }: Addressed): AddressOwner {
  return { kind, namespace, name, createdMs: 0, ips };
}
