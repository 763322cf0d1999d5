import type { Clock } from '#core/clock.ts';
import { unlessAborted } from '#core/deadline.ts';
import { AddressBook, type AddressOwner } from '#peers/address_book.ts';
import type { Owner } from '#peers/claims.ts';
import type { OwnerListener, Peers } from '#peers/peer.ts';
import type { PodName } from '#pods/facts.ts';
import { workloadOf } from '#pods/workload.ts';
import { type ApiSession, errorOf, withQuery } from './api.ts';
import { type Endpoint, endpointSlices, nodesOf, type RemotePod, remotePods, SERVICES } from './cluster_objects.ts';
import { readList } from './json_stream.ts';
import type { Node } from './objects.ts';
import { pauseMs, type Timing } from './pace.ts';
import type { Follower, Resource } from './reflector.ts';
import { Selectors } from './selectors.ts';
import type { ResourceTally } from './tally.ts';

/** Modes in which the agent watches objects of other nodes. */
export type WideMode = Exclude<Peers, 'off' | 'node'>;

export type AnyReflector = AsyncDisposable & { readonly tally: ResourceTally };
export type Follow = <T>(resource: Resource<T>, follower: Follower<T>, timing: Partial<Timing>) => AnyReflector;

export interface WideBookOptions {
  readonly session: ApiSession;
  /** Name of this node. */
  readonly node: string;
  readonly mode: WideMode;
  readonly clock: Clock;
  readonly follow: Follow;
  readonly changed: OwnerListener | undefined;
  /** Called once all lists have been completed for the first time. */
  readonly listed?: (() => void) | undefined;
  /** Resolves once it is known whether the cluster uses both IPv4 and IPv6. */
  readonly isDualStack: Promise<boolean>;
  /** Maximum of all random delays in milliseconds; undefined for the defaults. */
  readonly spreadMs: number | undefined;
}

/**
 * Maximum random delays in milliseconds: before the number of nodes is requested, and before the lists, per node. If a
 * thousand agents start at the same time, they send at most 50 requests per second. In a cluster of three nodes, the
 * lists begin within two seconds after the first response.
 */
const COUNT_SPREAD_MS = 40_000;
const SPREAD_PER_NODE_MS = 500;
const SPREAD_MAX_MS = 600_000;
/** Number of nodes that is assumed if the server refuses to report it. */
const NODES_ASSUMED = 1_000;
const ANSWER_MS = 30_000;
/** Maximum number of addresses to keep for Pods of this node that are listed in EndpointSlices. */
const HERE_MAX = 4_096;
/** Lists of the whole cluster take longer than those of one node, so they are repeated less often. */
const TIMING: Partial<Timing> = { answerMs: ANSWER_MS, relistMs: 4 * 3_600_000 };

/** Owners of the addresses of other nodes, and of the addresses of Services. */
export class WideBook implements AsyncDisposable {
  readonly #options: WideBookOptions;
  readonly #book: AddressBook;
  /**
   * Pods of this node that are listed in EndpointSlices. Only their Services are used, because the list of Pods is more
   * detailed.
   */
  readonly #here = new AddressBook({ max: HERE_MAX });
  /** Used only in the mode `cluster`, in which the agent does not watch EndpointSlices. */
  readonly #selectors = new Selectors();
  readonly #unlisted = new Set<string>();
  /** Resources that were neither listed nor refused. */
  readonly #awaited = new Set<string>();
  readonly #ending = new AbortController();
  readonly #starting: Promise<void>;
  /** Nodes whose zone is known, by UID. */
  readonly #zoned = new Map<string, Pick<Node, 'name' | 'zone'>>();
  /** Zones by node; undefined after a change. */
  #zones: ReadonlyMap<string, string> | undefined;
  #reflectors: readonly AnyReflector[] = [];
  #hasStarted = false;

  constructor(options: WideBookOptions) {
    this.#options = options;
    this.#book = new AddressBook({ changed: options.changed });
    this.#starting = this.#start();
  }

  get mode(): WideMode {
    return this.#options.mode;
  }

  get reflectors(): readonly AnyReflector[] {
    return this.#reflectors;
  }

  get addresses(): number {
    return this.#book.size;
  }

  get leftOut(): number {
    return this.#book.leftOut + this.#here.leftOut + this.#selectors.leftOut;
  }

  /** Whether lists have not been read that the server does not refuse. */
  get isPending(): boolean {
    return !this.#hasStarted || this.#awaited.size > 0;
  }

  /** Whether all addresses that belong to the mode are known. */
  get isWhole(): boolean {
    return this.#hasStarted && this.#unlisted.size === 0 && this.#book.leftOut === 0;
  }

  /**
   * Returns the owner of an address. Before the nodes are known, no Pod is returned, because the address of a Pod that
   * uses the network namespace of its node is the address of the node.
   */
  find(ip: string): Owner | undefined {
    const owner = this.#book.find(ip);
    if (owner === undefined || owner.kind === 'node' || owner.kind === 'service') return owner;
    if (!this.#hasStarted || this.#unlisted.has('nodes')) return undefined;
    if (owner.zone === '' || owner.kind === 'endpoint') return owner;
    // In the book, the `zone` of a Pod is the name of its node, because the zone of the node may become known only
    // later.
    this.#zones ??= new Map([...this.#zoned.values()].map(({ name, zone }) => [name, zone]));
    return { ...owner, zone: this.#zones.get(owner.zone) ?? '' };
  }

  /**
   * Returns the names of the Services of a Pod of this node: those whose EndpointSlices list the Pod or, in the mode
   * `cluster`, whose selectors match it. Returns none until all objects are listed.
   */
  servicesOf(pod: PodName): readonly string[] {
    if (!this.#hasStarted || this.#unlisted.size > 0 || pod.ips.length === 0) return [];
    if (this.mode === 'cluster') return this.#selectors.of(pod);
    const endpoints = pod.ips.flatMap((ip) => [...this.#here.endpoints(ip), ...this.#book.endpoints(ip)]);
    // A slice may still list the Pod that had the address before.
    const own = endpoints.filter(({ namespace, name }) => namespace === pod.namespace && name === pod.name);
    return own.map(({ group }) => group).filter((service) => service !== '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new Error('closed'));
    await this.#starting;
    await Promise.all(this.#reflectors.map((reflector) => reflector[Symbol.asyncDispose]()));
  }

  async #start(): Promise<void> {
    const { isDualStack, node, mode } = this.#options;
    const { signal } = this.#ending;
    const nodes = await this.#countNodes().catch(() => NODES_ASSUMED);
    const isDual = await unlessAborted(isDualStack, signal).catch(() => false);
    if (signal.aborted) return;
    const requested = isDual ? 'whole' : 'table';
    const spreadMs = Math.min(nodes * SPREAD_PER_NODE_MS, SPREAD_MAX_MS);
    const timing = { ...TIMING, startJitterMs: this.#options.spreadMs ?? spreadMs };
    const watch = <T>(resource: Resource<T>, owners: (object: T, uid: string) => readonly AddressOwner[]) =>
      this.#options.follow(resource, this.#follower(resource, owners), timing);
    const ofPods =
      mode === 'services'
        ? watch(endpointSlices(node), (found, uid) => this.#endpointOwners(found, uid))
        : watch(remotePods(requested, node), podOwners);
    this.#reflectors = [
      watch(nodesOf(requested, mode === 'cluster'), (found, uid) => this.#nodeOwners(found, uid)),
      watch(SERVICES, ({ selector, ...service }, uid) => {
        if (mode === 'cluster') this.#selectors.set(uid, { ...service, selector });
        return [{ kind: 'service', createdMs: 0, ...service }];
      }),
      ofPods,
    ];
    this.#hasStarted = true;
  }

  /** Returns the number of nodes, which determines the maximum random delay before the lists. */
  async #countNodes(): Promise<number> {
    const { clock, session, spreadMs } = this.#options;
    const { signal } = this.#ending;
    if (spreadMs !== undefined) return 0;
    await clock.sleep(Math.random() * COUNT_SPREAD_MS, signal);
    for (let failures = 1; ; failures++) {
      signal.throwIfAborted();
      try {
        return await nodeCount(session, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
      } catch (error) {
        if ((error as { status?: unknown }).status === 403) throw error;
        await clock.sleep(pauseMs(failures, Math.random()), signal);
      }
    }
  }

  #follower<T>({ name }: Resource<T>, owners: (object: T, uid: string) => readonly AddressOwner[]): Follower<T> {
    this.#unlisted.add(name);
    this.#awaited.add(name);
    return {
      set: (uid, object, isNews) => this.#book.set(uid, owners(object, uid), isNews),
      delete: (uid) => {
        this.#book.delete(uid);
        this.#here.delete(uid);
        this.#selectors.delete(uid);
        if (this.#zoned.delete(uid)) this.#zones = undefined;
      },
      listed: () => {
        if (!this.#unlisted.delete(name)) return;
        this.#awaited.delete(name);
        this.#options.changed?.();
        if (this.#unlisted.size === 0) this.#options.listed?.();
      },
      refused: () => {
        if (this.#awaited.delete(name)) this.#options.changed?.();
      },
    };
  }

  #endpointOwners(endpoints: readonly Endpoint[], uid: string): readonly AddressOwner[] {
    const those = (here: boolean) => endpointOwners(endpoints.filter(({ isHere }) => isHere === here));
    this.#here.set(uid, those(true));
    return those(false);
  }

  #nodeOwners({ name, ips, zone }: Node, uid: string): readonly AddressOwner[] {
    if (zone !== (this.#zoned.get(uid)?.zone ?? '')) {
      this.#zoned.set(uid, { name, zone });
      this.#zones = undefined;
    }
    return [{ kind: 'node', namespace: '', name, createdMs: 0, ips, zone }];
  }
}

function endpointOwners(endpoints: readonly Endpoint[]): readonly AddressOwner[] {
  return endpoints.map(({ service, isHere, ...endpoint }) => ({
    kind: 'endpoint',
    createdMs: 0,
    group: service,
    ...endpoint,
  }));
}

function podOwners({ namespace, name, labels, owner, createdMs, ips, node }: RemotePod): readonly AddressOwner[] {
  const group = workloadOf({ name, labels, owner, createdMs }).name;
  return [{ kind: 'pod', namespace, name, createdMs, ips, group, zone: node }];
}

async function nodeCount(session: ApiSession, signal: AbortSignal): Promise<number> {
  const path = withQuery('/api/v1/nodes', { includeObject: 'None', limit: 1 });
  const accept = 'application/json;as=Table;g=meta.k8s.io;v=v1';
  const response = await session.request({ method: 'GET', path, accept, signal });
  if (response.status !== 200) throw await errorOf(response);
  let nodes = 0;
  const { remaining = 0 } = await readList(response.body, () => void nodes++, { key: 'rows', shape: {} });
  return nodes + (Number.isSafeInteger(remaining) ? remaining : 0);
}
