import type { NetnsId } from '#core/netns.ts';
import type { ContainerRef } from './cgroup.ts';
import type { Entity } from './entity.ts';
import { Homes, type Presence } from './homes.ts';
import { type Claimant, claimantOf, isSandboxMount, type Owner, ownerOf } from './owner.ts';
import type { ProcessFacts, ProcessTable } from './process_table.ts';
import type { Trace } from './traces.ts';

/** Maximum number of processes in the node's namespace whose owners are determined. */
const NODE_PROCESSES_MAX = 8_192;

/** Facts about a namespace from which its owner is determined. */
export interface Scene {
  readonly inum: number;
  readonly isNode: boolean;
  readonly mounts: readonly string[];
  /** Position of the namespace in the order of creation, ascending; undefined if unknown. */
  readonly order: number | undefined;
  /** The oldest process of each Pod and container in the namespace, oldest first. */
  readonly traces: readonly Trace[];
  readonly oldest: ProcessFacts | undefined;
}

/** Owner of a namespace, as it was determined. */
export interface Judged {
  readonly owner: Owner;
  readonly entity: Entity;
  /** Start of the owner's oldest process in seconds after boot; undefined if none was seen. */
  readonly startSeconds: number | undefined;
  /** Whether the namespace is the home of its owner. A Pod is shown with the values of its home. */
  readonly isFirst: boolean;
}

/** A Pod or container with processes in a namespace. */
interface Present extends Claimant {
  readonly startSeconds: number;
}

/** Collects facts about namespaces, and determines the owner of each namespace with `ownerOf`. */
export class OwnerJudge {
  readonly #own: ContainerRef | undefined;
  readonly #hostNetwork: (uid: string) => boolean | undefined;
  readonly #homes: Homes;
  readonly #scenes = new Map<NetnsId, Scene>();
  readonly #present = new Map<NetnsId, readonly Present[]>();
  readonly #judged = new Map<NetnsId, Judged>();
  /** Owners whose processes were searched for in the node's namespace. */
  #askedAtNode: ReadonlySet<string> = new Set();
  /** Whether the last search found any of them. */
  #isAnyAtNode = false;
  /** Whether a Pod that runs directly on this machine has ever been seen. */
  #hasPods = false;
  /** UIDs of Pods in virtual machines, by container ID. */
  #machines: ReadonlyMap<string, string> = new Map();
  /** Whether all owners have to be determined again. */
  #isStale = false;

  /**
   * @param own container of the agent
   * @param hostNetwork returns whether a Pod uses the node's network, according to Kubernetes; undefined if unknown
   */
  constructor(own: ContainerRef | undefined, hostNetwork: (uid: string) => boolean | undefined) {
    this.#own = own;
    this.#hostNetwork = hostNetwork;
    this.#homes = new Homes(hostNetwork);
  }

  get(id: NetnsId): Judged | undefined {
    return this.#judged.get(id);
  }

  /** Returns all entities. Entities in their homes come first. */
  get entities(): Entity[] {
    const all = [...this.#judged.values()].sort((a, b) => Number(b.isFirst) - Number(a.isFirst));
    return all.map(({ entity }) => entity);
  }

  /** Sets the facts about a namespace. A later call of `judge` or `judgeAll` determines its owner. */
  put(id: NetnsId, scene: Scene): void {
    this.#scenes.set(id, scene);
    for (const { ref } of scene.traces) this.#learn(ref);
    this.#settle(id, scene);
  }

  /**
   * Adds a process that has started in a namespace. Returns true if it is the first known process of its Pod or
   * container in this namespace.
   * @param unknown facts about the namespace that are used if the namespace is not known yet
   */
  add(id: NetnsId, unknown: Omit<Scene, 'traces'>, trace: Trace): boolean {
    this.#learn(trace.ref);
    const claimant = this.#claimantOf(trace.ref);
    if (claimant === undefined || this.#present.get(id)?.some(({ uid }) => uid === claimant.uid)) return false;
    const scene = this.#scenes.get(id) ?? { ...unknown, traces: [] };
    const traces = [...scene.traces, trace].sort((a, b) => a.startSeconds - b.startSeconds);
    this.put(id, { ...scene, traces });
    return true;
  }

  /**
   * Determines the owner of a namespace, and of all namespaces whose owners depend on it. Returns whether any owner has
   * changed.
   */
  judge(id: NetnsId): boolean {
    if (this.#isStale) return this.judgeAll();
    let hasChanged = this.#judge(id);
    for (const { uid } of this.#present.get(id) ?? []) {
      // The Pod may have had its home in another namespace until now.
      if (this.#homes.of(uid) !== id) continue;
      for (const other of this.#homes.placesOf(uid)) if (other !== id && this.#judge(other)) hasChanged = true;
    }
    return hasChanged;
  }

  /**
   * Determines the owners of all namespaces with current data from Kubernetes. Returns whether any owner has changed.
   */
  judgeAll(): boolean {
    this.#isStale = false;
    this.#homes.forget();
    let hasChanged = false;
    for (const id of this.#scenes.keys()) if (this.#judge(id)) hasChanged = true;
    return hasChanged;
  }

  /**
   * Finds the owners that also have processes in the node's namespace, and may therefore share it. A Pod that shares it
   * has a process there from the start, so an owner that was not found there is not searched for again.
   * @param pids processes in the node's namespace
   */
  lookAtNode(pids: readonly number[], table: Pick<ProcessTable, 'info'>): void {
    const uids = new Set([...this.#present.values()].flat().map(({ uid }) => uid));
    // If an owner was found, its process may have been about to enter another namespace, so the search is repeated.
    if (pids.length === 0 || (!this.#isAnyAtNode && [...uids].every((uid) => this.#askedAtNode.has(uid)))) return;
    this.#askedAtNode = uids;
    const starts = new Map<string, number>();
    for (const pid of pids.slice(0, NODE_PROCESSES_MAX)) {
      const process = table.info(pid);
      const ref = process?.container();
      if (process === undefined || ref === undefined) continue;
      this.#learn(ref);
      const uid = this.#claimantOf(ref)?.uid;
      if (uid !== undefined && uids.has(uid))
        starts.set(uid, Math.min(process.startSeconds, starts.get(uid) ?? process.startSeconds));
    }
    this.#isAnyAtNode = starts.size > 0;
    this.#homes.atNode = starts;
  }

  /** Whether a Pod or container has a process in its home. */
  isAtHome(uid: string): boolean {
    return [...this.#homes.placesOf(uid)].some((id) => {
      const owner = this.#judged.get(id)?.owner;
      return owner?.isHome === true && owner.uid === uid && this.#present.get(id)?.some((one) => one.uid === uid);
    });
  }

  /**
   * Returns the Pod of a process or socket in the node's namespace, unless the Pod has its home in another namespace.
   * Unlike in other uses of `claimantOf`, the agent's own Pod is included. `isSure` is true if Kubernetes reports
   * hostNetwork.
   */
  hostPod(ref: ContainerRef): { readonly uid: string; readonly isSure: boolean } | undefined {
    this.#learn(ref);
    const claimant = claimantOf(ref, undefined, this.#hasPods);
    if (claimant?.kind !== 'pod') return undefined;
    const { uid } = claimant;
    const isSaid = this.#hostNetwork(uid);
    const home = this.#homes.of(uid);
    return (isSaid ?? (home === undefined || home === 'node')) ? { uid, isSure: isSaid === true } : undefined;
  }

  /** Returns the containers that own a namespace but belong to no known Pod. */
  get loneContainers(): Entity[] {
    return [...this.#judged.values()].map(({ entity }) => entity).filter(({ kind }) => kind === 'container');
  }

  /** Adds Pods in virtual machines. The keys are container IDs, and the values are Pod UIDs. */
  knowPods(pods: ReadonlyMap<string, string>): void {
    const isSeen = (id: string) =>
      [...this.#scenes.values()].some(({ traces }) => traces.some(({ ref }) => ref.containerId === id));
    this.#machines = new Map([...[...this.#machines].filter(([id]) => isSeen(id)), ...pods]);
    this.#settleAgain(({ containerId }) => containerId !== undefined && pods.has(containerId));
  }

  /** Removes a namespace. Returns its last owner. */
  remove(id: NetnsId): Judged | undefined {
    const judged = this.#judged.get(id);
    this.#judged.delete(id);
    this.#scenes.delete(id);
    this.#present.delete(id);
    this.#homes.set(id, new Map());
    return judged;
  }

  #claimantOf(ref: ContainerRef): Claimant | undefined {
    const claimant = claimantOf(ref, this.#own, this.#hasPods);
    const uid = claimant?.kind === 'container' ? this.#machines.get(claimant.uid) : undefined;
    return uid === undefined ? claimant : { kind: 'pod', uid };
  }

  /**
   * Detects the first Pod that runs directly on this machine. From then on, it is certain that Pods inside containers
   * belong to other nodes, and the owners of their namespaces are corrected.
   */
  #learn({ podUid, within }: ContainerRef): void {
    if (this.#hasPods || podUid === undefined || within !== undefined) return;
    this.#hasPods = true;
    this.#settleAgain(({ within: outer }) => outer !== undefined);
  }

  /** Redetermines which owners are present in namespaces with processes that match `isOther`. */
  #settleAgain(isOther: (ref: ContainerRef) => boolean): void {
    for (const [id, scene] of this.#scenes) {
      if (!scene.traces.some(({ ref }) => isOther(ref))) continue;
      this.#isStale = true;
      this.#judged.delete(id);
      this.#settle(id, scene);
    }
  }

  #settle(id: NetnsId, { traces, mounts, order }: Scene): void {
    const present = traces.flatMap(({ ref, startSeconds }): Present[] => {
      const claimant = this.#claimantOf(ref);
      return claimant === undefined ? [] : [{ ...claimant, startSeconds }];
    });
    this.#present.set(id, present);
    const isSandbox = mounts.some(isSandboxMount);
    const places = new Map<string, Presence>();
    const owner = this.#judged.get(id)?.owner;
    if (owner?.isHome && owner.uid !== '') places.set(owner.uid, { id, startSeconds: undefined, isSandbox, order });
    for (const { uid, startSeconds } of [...present].reverse()) places.set(uid, { id, startSeconds, isSandbox, order });
    this.#homes.set(id, places);
  }

  #judge(id: NetnsId): boolean {
    const scene = this.#scenes.get(id);
    if (scene === undefined) return false;
    const { inum, isNode, mounts, oldest } = scene;
    const before = this.#judged.get(id);
    const present = this.#present.get(id) ?? [];
    const homeOf = (uid: string) => {
      const home = this.#homes.of(uid);
      return home === 'node' ? home : home === id ? 'here' : 'elsewhere';
    };
    const owner = ownerOf({
      inum,
      isNode,
      claims: present.map((one) => ({ ...one, home: homeOf(one.uid) })),
      before: before?.owner,
      beforeHome: before === undefined || before.owner.uid === '' ? undefined : homeOf(before.owner.uid),
      mounts,
      oldest,
    });
    const isFirst = owner.uid === '' || homeOf(owner.uid) === 'here';
    const isSame = before !== undefined && sameOwner(before.owner, owner);
    const seen = owner.uid === '' ? oldest : present.find(({ uid }) => uid === owner.uid);
    const startSeconds = (isSame ? before.startSeconds : undefined) ?? seen?.startSeconds;
    const { kind, name, uid } = owner;
    const entity = isSame ? before.entity : { kind, netns: id, inum, namespace: '', pod: name, uid, labels: {} };
    this.#judged.set(id, { owner, entity, startSeconds, isFirst });
    return !isSame || before.isFirst !== isFirst;
  }
}

function sameOwner(a: Owner, b: Owner): boolean {
  return a.kind === b.kind && a.uid === b.uid && a.name === b.name;
}
