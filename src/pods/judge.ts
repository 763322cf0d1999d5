import type { NetnsId } from '#core/netns.ts';
import type { ContainerRef } from './cgroup.ts';
import type { Entity } from './entity.ts';
import { Homes, type Presence } from './homes.ts';
import { type Claimant, claimantOf, isSandboxMount, type Owner, ownerOf } from './owner.ts';
import type { ProcessInfo, ProcessTable } from './process_table.ts';
import type { Trace } from './traces.ts';

/** Number of processes in the node's namespace whose owners are looked up. */
const NODE_PROCESSES_MAX = 8_192;

/** Facts about a namespace from which its owner follows. */
export interface Scene {
  readonly inum: number;
  readonly isNode: boolean;
  readonly mounts: readonly string[];
  /** Creation order: later namespaces have higher numbers; undefined where it is not known. */
  readonly order: number | undefined;
  /** The oldest process of each Pod or container in it, the oldest first. */
  readonly traces: readonly Trace[];
  readonly oldest: ProcessInfo | undefined;
}

/** Owner of a namespace, as judged. */
export interface Judged {
  readonly owner: Owner;
  readonly entity: Entity;
  /** Start of the owner's oldest process, in seconds after boot; undefined where none was seen. */
  readonly startSeconds: number | undefined;
  /** Whether it is the namespace of the Pod that is shown. */
  readonly isFirst: boolean;
}

/** A Pod or a container that has processes in a namespace. */
interface Present extends Claimant {
  readonly startSeconds: number;
}

/** Gathers the facts about namespaces, and judges the owner of each by the rule of `ownerOf`. */
export class OwnerJudge {
  readonly #own: ContainerRef | undefined;
  readonly #homes: Homes;
  readonly #scenes = new Map<NetnsId, Scene>();
  readonly #present = new Map<NetnsId, readonly Present[]>();
  readonly #judged = new Map<NetnsId, Judged>();
  /** Owners that were looked for in the node's namespace, and whether any was there. */
  #askedAtNode: ReadonlySet<string> = new Set();
  #isAnyAtNode = false;
  /** Whether a Pod was seen that belongs to this machine itself. */
  #hasPods = false;
  /** Pods that run in virtual machines, by container ID. */
  #machines: ReadonlyMap<string, string> = new Map();
  /** Whether all are to be judged again. */
  #isStale = false;

  /**
   * @param own container of the agent
   * @param hostNetwork whether Kubernetes says that a Pod, by its UID, uses the node's network; undefined where it says nothing
   */
  constructor(own: ContainerRef | undefined, hostNetwork: (uid: string) => boolean | undefined) {
    this.#own = own;
    this.#homes = new Homes(hostNetwork);
  }

  get(id: NetnsId): Judged | undefined {
    return this.#judged.get(id);
  }

  /** Sorts the namespaces of one Pod, its home first. */
  get entities(): Entity[] {
    const all = [...this.#judged.values()].sort((a, b) => Number(b.isFirst) - Number(a.isFirst));
    return all.map(({ entity }) => entity);
  }

  /** Sets the current facts about a namespace, to be judged later. */
  put(id: NetnsId, scene: Scene): void {
    this.#scenes.set(id, scene);
    for (const { ref } of scene.traces) this.#learn(ref);
    this.#settle(id, scene);
  }

  /**
   * Adds a process that has begun in it. Returns whether it belongs to an owner that was not known there.
   * @param unknown facts of the namespace, where nothing is known about it
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

  /** Judges one namespace, and those that depend on it. Returns whether anything has changed. */
  judge(id: NetnsId): boolean {
    if (this.#isStale) return this.judgeAll();
    let hasChanged = this.#judge(id);
    for (const { uid } of this.#present.get(id) ?? []) {
      // Another namespace of the Pod may be its first now.
      if (this.#homes.of(uid) !== id) continue;
      for (const other of this.#homes.placesOf(uid)) if (other !== id && this.#judge(other)) hasChanged = true;
    }
    return hasChanged;
  }

  /** Judges all namespaces, also by what Kubernetes says now. Returns whether anything has changed. */
  judgeAll(): boolean {
    this.#isStale = false;
    this.#homes.forget();
    let hasChanged = false;
    for (const id of this.#scenes.keys()) if (this.#judge(id)) hasChanged = true;
    return hasChanged;
  }

  /**
   * Looks for owners that use the node's network, and make or enter other namespaces. The first process of such an owner is there, so
   * one look is enough for each.
   * @param pids processes in the node's namespace
   */
  lookAtNode(pids: readonly number[], table: Pick<ProcessTable, 'info'>): void {
    const uids = new Set([...this.#present.values()].flat().map(({ uid }) => uid));
    // A process that was there may only have been on its way into a namespace.
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

  /** Returns whether a Pod or a container has processes in a namespace that is its own. */
  isAtHome(uid: string): boolean {
    return [...this.#homes.placesOf(uid)].some((id) => {
      const owner = this.#judged.get(id)?.owner;
      return owner?.isHome === true && owner.uid === uid && this.#present.get(id)?.some((one) => one.uid === uid);
    });
  }

  /** Returns the containers in namespaces that no Pod is in. */
  get loneContainers(): Entity[] {
    return [...this.#judged.values()].map(({ entity }) => entity).filter(({ kind }) => kind === 'container');
  }

  /** Sets the containers that are Pods, by container ID and UID. */
  knowPods(pods: ReadonlyMap<string, string>): void {
    const isSeen = (id: string) =>
      [...this.#scenes.values()].some(({ traces }) => traces.some(({ ref }) => ref.containerId === id));
    this.#machines = new Map([...[...this.#machines].filter(([id]) => isSeen(id)), ...pods]);
    this.#settleAgain(({ containerId }) => containerId !== undefined && pods.has(containerId));
  }

  /** Forgets a namespace, and returns its last owner. */
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

  /** A namespace that was assigned to a Pod may have to be assigned to none. */
  #learn({ podUid, within }: ContainerRef): void {
    if (this.#hasPods || podUid === undefined || within !== undefined) return;
    this.#hasPods = true;
    this.#settleAgain(({ within: outer }) => outer !== undefined);
  }

  /** A namespace that was assigned to one owner may belong to another. */
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
