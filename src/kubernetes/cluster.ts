import { SYSTEM_CLOCK } from '#core/clock.ts';
import { AddressBook } from '#peers/address_book.ts';
import type { Owner } from '#peers/claims.ts';
import type { OwnerListener, Owners, Peers } from '#peers/peer.ts';
import { isPublic } from '#peers/public.ts';
import { serviceWorkloads } from '#peers/service_workloads.ts';
import type { PodName, PodsUpdate } from '#pods/facts.ts';
import { workloadOf } from '#pods/workload.ts';
import type { ApiSession } from './api.ts';
import { nearNode } from './node_name.ts';
import { type Node, ownNode, type Pod, podsOf } from './objects.ts';
import type { Timing } from './pace.ts';
import { PodsFeed } from './pods_feed.ts';
import { type Follower, Reflector, type ReflectorLog, type Resource } from './reflector.ts';
import type { ResourceTally } from './tally.ts';
import { type AnyReflector, WideBook, type WideMode } from './wide_book.ts';

export interface ClusterOptions {
  readonly session: ApiSession;
  /** Name of this node. */
  readonly node: string;
  readonly log: ReflectorLog;
  readonly pods: (update: PodsUpdate) => void;
  readonly nodeLabels: (labels: Readonly<Record<string, string>>) => void;
  /** Called with the networks of the Pods on this node when they change. */
  readonly podNetworks: (networks: readonly string[]) => void;
  /** Called when an address may have changed its owner. */
  readonly ownersChanged?: OwnerListener;
  /** Called when the lists of the whole cluster are complete. Reading them leaves much unused memory in the heap. */
  readonly wideListed?: () => void;
  /** Maximum random delay in milliseconds before requests that all agents may send at the same time. */
  readonly spreadMs?: number;
}

export interface ClusterState {
  /** Whether the Pods of this node are watched. */
  readonly connected: boolean;
  /** Problem with the connection, and how to fix it; undefined if there is none. */
  readonly trouble: string | undefined;
  readonly resources: readonly ResourceTally[];
  readonly addresses: number;
  readonly addressesLeftOut: number;
}

/**
 * Watches the Kubernetes API objects that the agent needs: its node, the Pods on the node, and the owners of addresses.
 */
export class Cluster implements AsyncDisposable {
  readonly #options: ClusterOptions;
  readonly #feed: PodsFeed;
  readonly #own: readonly AnyReflector[];
  /** Addresses of this node and its Pods. */
  readonly #near: AddressBook;
  /** Lists of this node that were neither read nor refused. */
  readonly #awaited = new Set(['node', 'pods']);
  #peers: Peers = 'off';
  #wide: WideBook | undefined;
  /** UID of the API object for this node. Empty if there is none. */
  readonly #nodes = new Set<string>();
  /**
   * Description of the problem if the API has no node with this name. Undefined if there is such a node, or if this is
   * not known yet.
   */
  #unknownNode: string | undefined;
  #ownNetworks: readonly string[] = [];
  /** Zone of this node; empty if it is unknown. */
  #zone = '';
  /** Address families in which Pods of this node have public addresses; undefined after a change. */
  #publicFamilies: ReadonlySet<boolean> | undefined;
  #nodeKnown: (isDualStack: boolean) => void = () => undefined;
  readonly #isDualStack = new Promise<boolean>((resolve) => {
    this.#nodeKnown = resolve;
  });
  readonly #ending = new AbortController();
  #listed: () => void = () => undefined;
  readonly #podsListed = new Promise<void>((resolve) => {
    this.#listed = resolve;
  });

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#near = new AddressBook({ changed: options.ownersChanged });
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
    return {
      connected:
        this.#unknownNode === undefined &&
        resources.every(({ resource, isConnected }) => resource !== 'pods' || isConnected),
      trouble: troubleOf(resources) ?? this.#unknownNode,
      resources,
      addresses: this.#near.size + (this.#wide?.addresses ?? 0),
      addressesLeftOut: this.#near.leftOut + (this.#wide?.leftOut ?? 0),
    };
  }

  async setPeers(peers: Peers): Promise<void> {
    if (peers === this.#peers) return;
    this.#peers = peers;
    const before = this.#wide;
    this.#wide = undefined;
    // The address books of both modes must not exist at the same time, because each of them may be large.
    await before?.[Symbol.asyncDispose]();
    if (peers === 'services' || peers === 'cluster') this.#wide = this.#widen(peers);
    this.#options.ownersChanged?.();
  }

  get #hasWide(): boolean {
    return this.#peers === 'services' || this.#peers === 'cluster';
  }

  /** Called when a list of this node has been read or refused. */
  #settle(list: string): void {
    if (this.#awaited.delete(list)) this.#options.ownersChanged?.();
  }

  #widen(mode: WideMode): WideBook {
    const { session, node, ownersChanged, wideListed, spreadMs } = this.#options;
    return new WideBook({
      session,
      node,
      mode,
      clock: SYSTEM_CLOCK,
      follow: (resource, follower, timing) => this.#follow(resource, follower, timing),
      changed: ownersChanged,
      listed: wideListed,
      isDualStack: this.#isDualStack,
      spreadMs,
    });
  }

  /** Owners of the addresses that are known so far; undefined if `peers` is off. */
  get owners(): Owners | undefined {
    return this.#peers === 'off' ? undefined : this.#owners;
  }

  readonly #owners: Owners = {
    isPending: () => this.#awaited.size > 0 || (this.#hasWide && this.#wide?.isPending !== false),
    find: (ip) => this.#nearOwner(ip) ?? this.#wide?.find(ip),
    isLocal: (namespace, pod) => this.#feed.has(namespace, pod),
    isOutside: (ip) => this.#wide?.isWhole === true && !this.#hasPublicPods(ip),
    serviceWorkloads: () => serviceWorkloads(this.#feed.all, (pod) => this.#wide?.servicesOf(pod) ?? []),
  };

  #nearOwner(ip: string): Owner | undefined {
    const owner = this.#near.find(ip);
    return owner && { ...owner, zone: this.#zone };
  }

  /**
   * Whether Pods of this node have public addresses in the address family of `ip`. If they do, so may Pods of other
   * nodes, and a public address without a known owner may belong to one of them.
   */
  #hasPublicPods(ip: string): boolean {
    if (this.#publicFamilies === undefined) {
      const networks = this.#ownNetworks.map((network) => network.split('/', 1)[0] ?? '');
      const addresses = [...networks, ...this.#feed.all.flatMap(({ ips }) => ips)].filter(isPublic);
      this.#publicFamilies = new Set(addresses.map(isV6));
    }
    return this.#publicFamilies.has(isV6(ip));
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
      set: (object, pod, isNews) => {
        const { namespace, name, createdMs, ips } = pod;
        this.#feed.set(object, pod);
        const group = workloadOf(pod).name;
        this.#near.set(object, [{ kind: 'pod', namespace, name, createdMs, ips, group }], isNews);
        this.#publicFamilies = undefined;
      },
      delete: (object) => {
        this.#feed.delete(object);
        this.#near.delete(object);
        this.#publicFamilies = undefined;
      },
      listed: () => {
        this.#feed.flush();
        this.#listed();
        this.#settle('pods');
      },
      refused: () => this.#settle('pods'),
    };
  }

  #nodeFollower(): Follower<Node> {
    return {
      set: (object, node, isNews) => {
        const { name, ips, zone } = node;
        this.#near.set(object, [{ kind: 'node', namespace: '', name, createdMs: 0, ips }], isNews);
        this.#nodeKnown(new Set([...ips, ...node.podCidrs].map(isV6)).size > 1);
        this.#setZone(zone);
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
        this.#settle('node');
      },
      refused: () => this.#settle('node'),
    };
  }

  #setZone(zone: string): void {
    if (zone === this.#zone) return;
    this.#zone = zone;
    this.#options.ownersChanged?.();
  }

  #setPodNetworks(networks: readonly string[]): void {
    if (networks.join() === this.#ownNetworks.join()) return;
    this.#ownNetworks = networks;
    this.#publicFamilies = undefined;
    this.#options.podNetworks(networks);
  }

  /** Reports that the API has no node with this name. In this case, every request succeeds, but no Pods are found. */
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

/** Returns one of the problems. A problem with Pods takes precedence. */
function troubleOf(resources: readonly ResourceTally[]): string | undefined {
  const troubles = resources.filter(({ trouble }) => trouble !== undefined);
  const [first] = troubles.sort((a, b) => Number(b.resource === 'pods') - Number(a.resource === 'pods'));
  return first && `${first.resource}: ${first.trouble}`;
}

/** Whether an address or network uses IPv6. */
function isV6(address: string): boolean {
  return address.includes(':');
}
