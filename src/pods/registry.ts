import { join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import type { NetnsDeath, NetnsWatcher } from '#probe/life.ts';
import type { OwnerSlots } from '#probe/owners.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import type { NetnsEntry, NetnsIndex } from '#sources/netns.ts';
import { type ContainerRef, type OwnerFolders, ownerOfFolders } from './cgroup.ts';
import type { Entity, NetnsOwner } from './entity.ts';
import { OwnerJudge } from './judge.ts';
import type { Place } from './place.ts';
import { PROCESSES_MAX, type ProcessTable } from './process_table.ts';
import { isProcess, readContainer, readNetnsInum } from './processes.ts';
import { type LastWords, Retired, retiredMax } from './retired.ts';
import { Sandboxes } from './sandboxes.ts';
import { ownerKey, SharedRoom } from './shared_room.ts';
import { oldestFirst, tracesOf } from './traces.ts';

/**
 * Age in milliseconds up to which a namespace without its final owner is scanned again, because the owner may still
 * appear.
 */
const YOUNG_MS = 10_000;
const SWEEP_EVERY_MS = 5_000;
/** Maximum number of dead namespaces to remember, so that their remaining samples are not counted as unknown. */
const DEAD_MAX = 4_096;
/** Maximum number of shown namespaces that are named after a process, because a process can create thousands. */
const PROCESSES_SHOWN_MAX = 256;
/**
 * Maximum number of dead entities to keep until their losses are known. It allows two deaths per second for two
 * minutes.
 */
export const RETIRED_MAX = 256;

interface Known extends NetnsEntry {
  readonly bornMs: number;
  /** When the namespace was first listed, or reported by the kernel. */
  readonly listedMs: number;
  /** Processes in the namespace, oldest first. */
  readonly pids: readonly number[];
  readonly mounts: readonly string[];
  /**
   * First process that a scan or the kernel reported. Processes rarely change their namespace, so this one is assumed
   * to be there still if its namespace cannot be read.
   */
  readonly first: { readonly pid: number; readonly startSeconds: number } | undefined;
  /** Whether only the kernel has reported the namespace so far, so that a scan may reveal more. */
  readonly isUnconfirmed: boolean;
}

/** Last owner of a dead namespace. */
interface Dead {
  readonly entity: Entity;
  /** Whether the kernel has reported the death of the namespace, so that it cannot reappear. */
  readonly isFinal: boolean;
}

/** Called with the live entities, followed by the retired ones in the order of their deaths. */
export type EntitiesListener = (entities: readonly Entity[]) => void;

/** A process of a Pod or container that has just started in a namespace. */
export interface NetnsBirth {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pid: number;
  /** Start of the process in seconds after boot. */
  readonly startSeconds: number;
  /** Names in the cgroup path of the process that identify the owner. */
  readonly folders: OwnerFolders;
}

/** Reports births and deaths to the registry between scans. */
export interface NetnsEvents {
  /** Delivers all events so far. */
  drain(): void;
}

/**
 * The live, dead and retired network namespaces of this machine, with their owners. The scanner reports what it finds,
 * and the kernel reports births and deaths between scans.
 */
export class NetnsRegistry implements NetnsIndex {
  readonly #paths: Paths;
  readonly #listener: EntitiesListener;
  readonly #now: () => number;
  readonly #judge: OwnerJudge;
  readonly #sandboxes: Sandboxes;
  readonly #known = new Map<NetnsId, Known>();
  /**
   * Times when namespaces without visible processes or mounts were first listed. They belong to other nodes on this
   * machine.
   */
  readonly #unowned = new Map<NetnsId, number>();
  readonly #dead = new SharedRoom<Dead>(DEAD_MAX);
  readonly #retired = new Retired(RETIRED_MAX);
  readonly #sweepers = new Set<(isDead: (id: NetnsId) => boolean) => void>();
  /** Namespaces that exceed the limit {@link PROCESSES_SHOWN_MAX}. */
  #unshown: ReadonlySet<NetnsId> = new Set();
  /** Pods that share the node's namespace. */
  #hostPods: ReadonlyMap<NetnsId, Entity> = new Map();
  #owners: Pick<OwnerSlots, 'sweep'> | undefined;
  #events: NetnsEvents | undefined;
  #watcher: NetnsWatcher | undefined;
  #nested: ReadonlySet<NetnsId> = new Set();
  #live: ReadonlySet<NetnsId> = new Set();
  #liveBefore: ReadonlySet<NetnsId> = new Set();
  #sweptMs = Number.NEGATIVE_INFINITY;
  #changed = false;
  #hasMoved = false;
  /** When the first scan ended. */
  #lookedMs = Number.POSITIVE_INFINITY;
  #isHeld: (id: NetnsId) => boolean = () => false;
  /** Number of shown live entities. */
  #living = 0;

  visibilityGap: string | undefined;

  /**
   * @param hostNetwork returns whether a Pod uses the node's network, according to Kubernetes; undefined if unknown
   * @param now returns milliseconds of a monotonic clock
   */
  constructor(
    paths: Paths,
    listener: EntitiesListener = () => undefined,
    hostNetwork: (uid: string) => boolean | undefined = () => undefined,
    now = () => performance.now(),
  ) {
    this.#paths = paths;
    this.#listener = listener;
    this.#now = now;
    this.#sandboxes = new Sandboxes(paths);
    this.#judge = new OwnerJudge(readContainer(paths.proc, 'self'), hostNetwork);
  }

  snapshot(): readonly NetnsEntry[] {
    return [...this.#known.values()];
  }

  owners(): readonly NetnsOwner[] {
    return [...this.#known.values()].flatMap(({ id, pids }) => {
      const entity = this.#judge.get(id)?.entity;
      return entity === undefined ? [] : [{ entity, pids }];
    });
  }

  get node(): NetnsEntry | undefined {
    return this.snapshot().find(({ isNode }) => isNode);
  }

  /** Number of live namespaces without an owner. */
  get unowned(): number {
    return this.#unowned.size;
  }

  /** Describes the namespaces that are not shown because there are too many; undefined if all are shown. */
  get crowd(): string | undefined {
    const { size } = this.#unshown;
    return size === 0
      ? undefined
      : `${size} namespaces that are named after a process are not shown, because the limit is ${PROCESSES_SHOWN_MAX}`;
  }

  get retired(): Pick<Retired, 'entities' | 'size' | 'unknown' | 'dropped' | 'passedOver'> {
    return this.#retired;
  }

  /** Returns the Pod of a process or a socket in the node's namespace, if the Pod has no home in another namespace. */
  hostPod(ref: ContainerRef): ReturnType<OwnerJudge['hostPod']> {
    return this.#judge.hostPod(ref);
  }

  /**
   * Sets the Pods that share the node's namespace. They do not appear in any list of namespaces.
   * @param ended Pods that have ended since the last call, and are retired
   */
  setHostPods(pods: readonly Entity[], ended: readonly Entity[]): void {
    this.#hostPods = new Map(pods.map((entity) => [entity.netns, entity]));
    for (const entity of ended) this.#bury(entity, true);
    this.#notify();
  }

  /** Whether samples of the namespace are ignored, because it is dead, has no owner, or is not shown. */
  isIgnored(id: NetnsId): boolean {
    return this.#dead.has(id) || this.#unowned.has(id) || this.#unshown.has(id);
  }

  isNobodys(id: NetnsId): boolean {
    return (this.#unowned.has(id) || this.#unshown.has(id)) && !this.#retired.has(id);
  }

  /** Whether the namespace is not shown, or has no owner and is so old that no owner is expected. */
  isUnowned(id: NetnsId): boolean {
    const listedMs = this.#unowned.get(id);
    return (listedMs !== undefined && !this.#isYoung(listedMs)) || this.#unshown.has(id);
  }

  /** Whether the namespace has an owner, or had one before it died. */
  wasOwned(id: NetnsId): boolean {
    return (this.#known.has(id) || this.#dead.has(id) || this.#hostPods.has(id)) && !this.#unshown.has(id);
  }

  /** Whether the namespace had an owner, and its last values are no longer shown. */
  hasDeparted(id: NetnsId): boolean {
    return this.#dead.has(id) && !this.#known.has(id) && !this.#retired.has(id);
  }

  /** Whether the namespace belongs to a user namespace other than the initial one, according to the kernel. */
  isNested(id: NetnsId): boolean {
    return this.#nested.has(id);
  }

  /** Returns the last owner of a dead namespace. */
  lastKnown(id: NetnsId): Entity | undefined {
    return this.#dead.get(id)?.entity;
  }

  /** Whether the namespace was created recently and after the first scan, so that its counters started at zero. */
  isNew(id: NetnsId): boolean {
    const listedMs = this.#known.get(id)?.listedMs;
    return listedMs !== undefined && listedMs > this.#lookedMs && this.#now() - listedMs < YOUNG_MS;
  }

  /**
   * Drops retired entities that exceed the limit. Must be called when a collection has ended.
   * @param words returns what the last values of an entity show; undefined if they have not been collected yet
   * @param hasPods whether this node has Pods, in which case other entities are kept only if they have lost something
   */
  chooseRetired(words: (id: NetnsId) => LastWords | undefined, hasPods: boolean): void {
    if (this.#watcher === undefined) return;
    const max = retiredMax(this.#living, this.#watcher.retireShare);
    if (this.#retired.choose({ max, hasPods, words })) this.#notify();
  }

  /** Keeps retired entities beyond their time as long as `isHeld` returns true. */
  holdRetired(isHeld: (id: NetnsId) => boolean): void {
    this.#isHeld = isHeld;
  }

  /** Sets the owners whose slots are freed after each sweep. */
  holdOwners(owners: Pick<OwnerSlots, 'sweep'>): void {
    this.#owners = owners;
  }

  onSweep(sweep: (isDead: (id: NetnsId) => boolean) => void): Disposable {
    this.#sweepers.add(sweep);
    return { [Symbol.dispose]: () => void this.#sweepers.delete(sweep) };
  }

  /** Drains `events` before each scan, until disposed. */
  listen(events: NetnsEvents): Disposable {
    this.#events = events;
    return {
      [Symbol.dispose]: () => {
        this.#events = undefined;
      },
    };
  }

  /** Implements `NetnsLife.watch`. */
  watch(watcher: NetnsWatcher): Disposable {
    this.#watcher = watcher;
    return {
      [Symbol.dispose]: () => {
        this.#watcher = undefined;
        this.#retired.clear();
        this.#notify();
      },
    };
  }

  born({ id, inum, pid, startSeconds, folders }: NetnsBirth): void {
    const ref = ownerOfFolders(folders);
    const known = this.#known.get(id);
    if (ref === undefined || known?.isNode || this.#dead.get(id)?.isFinal) return;
    const mounts = known?.mounts ?? [];
    const unknown = { inum, isNode: false, mounts, order: Number.POSITIVE_INFINITY, oldest: undefined };
    if (!this.#judge.add(id, unknown, { ref, startSeconds })) return;
    const bornMs = known?.bornMs ?? this.#now();
    this.#known.set(id, {
      id,
      inum,
      isNode: false,
      bornMs,
      listedMs: this.#listedMs(id, known, bornMs),
      pids: [...(known?.pids ?? []), pid],
      mounts,
      first: { pid, startSeconds },
      isUnconfirmed: true,
    });
    this.#unowned.delete(id);
    this.#retired.delete(id);
    if (this.#judge.judge(id)) this.#notify();
  }

  died(death: NetnsDeath): void {
    const { id } = death;
    if (this.#forget(id)) this.#notify();
    const dead = this.#dead.get(id);
    if (dead !== undefined) this.#dead.set(id, ownerKey(dead.entity), { ...dead, isFinal: true });
    this.#watcher?.died(death, this.#retired.has(id));
  }

  locate(entry: NetnsEntry): string | undefined {
    const known = this.#known.get(entry.id);
    for (const pid of known?.pids ?? []) {
      const directory = join(this.#paths.proc, String(pid));
      // The process may have ended, and its ID may belong to another one.
      const inum = readNetnsInum(directory);
      if (
        inum === entry.inum ||
        (inum === 'unreadable' && known?.first?.pid === pid && isProcess(directory, known.first.startSeconds))
      )
        return directory;
      if (inum !== 'unreadable') this.#hasMoved = true;
    }
    return undefined;
  }

  mountOf(entry: NetnsEntry): string | undefined {
    const mount = this.#known.get(entry.id)?.mounts[0];
    return mount === undefined ? undefined : join(this.#paths.netns, mount);
  }

  /**
   * Must be called before a scan. Returns the namespaces that are known now. A namespace that is added later may be
   * missing from the data that the scan reads.
   */
  beforeLook(): readonly NetnsId[] {
    this.#events?.drain();
    this.#watcher?.beforeLook();
    return [...this.#known.keys()];
  }

  /** Removes the namespaces in `before` that the kernel no longer lists. */
  removeDead(before: readonly NetnsId[], live: readonly NetnsRow[]): void {
    const ids = new Set(live.map(({ id }) => id));
    this.removeMissing(before, ids);
    for (const id of this.#unowned.keys()) if (!ids.has(id)) this.#unowned.delete(id);
  }

  /** Removes the namespaces in `before` that are not in `others`. */
  removeMissing(before: readonly NetnsId[], others: ReadonlySet<NetnsId>): void {
    for (const id of before) if (!others.has(id) && this.#forget(id)) this.#changed = true;
  }

  /** Whether a scan may find something: a new namespace, or a change that {@link isUnsettled} reports. */
  needsScan(live: readonly NetnsRow[]): boolean {
    return this.isUnsettled || live.some(({ id }) => !this.#known.has(id) && !this.#unowned.has(id));
  }

  /** Whether a namespace is so young that its owner may still appear, or a process has moved to another namespace. */
  get isUnsettled(): boolean {
    return (
      this.#hasMoved ||
      [...this.#unowned.values()].some((bornMs) => this.#isYoung(bornMs)) ||
      [...this.#known.values()].some(
        ({ id, bornMs, isUnconfirmed }) => isUnconfirmed || (this.#isYoung(bornMs) && !this.#isSettled(id)),
      )
    );
  }

  scanBegins(): void {
    this.#hasMoved = false;
  }

  /**
   * Returns the known namespace with an inode number, if one of its processes is still in it. Otherwise, the number may
   * have been reused.
   */
  heldBy(inum: number, pids: readonly number[]): NetnsId | undefined {
    const known = [...this.#known.values()].find((entry) => entry.inum === inum);
    return known?.pids.some((pid) => pids.includes(pid)) ? known.id : undefined;
  }

  /** Adds a namespace that a scan has found by a process or a mount. `judge` determines its owner. */
  found(place: Place, isNode: boolean, table: Pick<ProcessTable, 'info'>): void {
    const { id, inum, pids, mounts, order } = place;
    // The kernel reported its death during the scan.
    if (this.#dead.get(id)?.isFinal) return;
    const known = this.#known.get(id);
    const bornMs = known?.bornMs ?? this.#now();
    this.#retired.delete(id);
    const oldest = known?.pids[0];
    const isLeft = oldest === undefined || !pids.includes(oldest);
    const isSame = known !== undefined && !isLeft && sameTexts(known.mounts, mounts);
    if (isSame && !this.#isYoung(bornMs) && this.#isSettled(id)) {
      this.#known.set(id, { ...known, pids: [oldest, ...pids.filter((pid) => pid !== oldest)] });
      return;
    }
    const processes = isNode ? [] : oldestFirst(pids, table);
    const [eldest] = processes;
    const first = eldest === undefined ? undefined : { pid: eldest.pid, startSeconds: eldest.startSeconds };
    const found = isNode ? pids.slice(0, PROCESSES_MAX) : processes.map(({ pid }) => pid);
    const listedMs = this.#listedMs(id, known, this.#now());
    this.#known.set(id, { id, inum, isNode, bornMs, listedMs, pids: found, mounts, first, isUnconfirmed: false });
    this.#judge.put(id, { inum, isNode, mounts, order, traces: tracesOf(processes), oldest: eldest });
  }

  /**
   * Determines the owner of each namespace. Must be called at the end of a scan.
   * @param atNode processes in the node's namespace
   */
  judge(atNode: readonly number[], table: Pick<ProcessTable, 'info'>): void {
    this.#judge.lookAtNode(atNode, table);
    if (this.#judge.judgeAll()) this.#changed = true;
  }

  /** Finds the Pods in virtual machines, whose processes run outside of the Pod's cgroup. */
  async findMachines(cycle: Cycle): Promise<void> {
    const lone = this.#judge.loneContainers.flatMap(({ netns, uid }) => {
      const pid = this.#known.get(netns)?.pids[0];
      return pid === undefined ? [] : [{ containerId: uid, pid }];
    });
    const pods = lone.length === 0 ? new Map() : await this.#sandboxes.podsOf(lone, cycle);
    if (pods.size === 0) return;
    this.#judge.knowPods(pods);
    if (this.#judge.judgeAll()) this.#changed = true;
  }

  /** Determines the owner of each namespace again, because Kubernetes has reported Pods. */
  judgeAgain(): void {
    if (this.#judge.judgeAll()) this.#notify();
  }

  /** Marks namespaces as unowned if the kernel lists them but no scan has found them. */
  noteUnowned(live: Iterable<NetnsRow>): void {
    for (const { id } of live) {
      if (this.#known.has(id)) this.#unowned.delete(id);
      else if (!this.#unowned.has(id)) this.#unowned.set(id, this.#now());
    }
  }

  /** Must be called after a scan. @param live namespaces that the kernel lists; undefined if it cannot list them */
  afterLook(live: readonly NetnsRow[] | undefined): void {
    const nowMs = this.#now();
    if (this.#lookedMs > nowMs) this.#lookedMs = nowMs;
    this.#nested = new Set(live?.flatMap(({ id, isNested }) => (isNested ? [id] : [])));
    if (this.#retired.expire(nowMs, this.#isHeld)) this.#changed = true;
    if (this.#changed) this.#notify();
    if (nowMs - this.#sweptMs >= SWEEP_EVERY_MS) this.#sweep(live, nowMs);
  }

  #listedMs(id: NetnsId, known: Known | undefined, nowMs: number): number {
    // A namespace that reappears existed before.
    if (this.#dead.has(id)) return Number.NEGATIVE_INFINITY;
    return known?.listedMs ?? this.#unowned.get(id) ?? nowMs;
  }

  #isYoung(bornMs: number): boolean {
    return this.#now() - bornMs < YOUNG_MS;
  }

  /** Whether the owner of the namespace has its home in it, so that later scans cannot find a better owner. */
  #isSettled(id: NetnsId): boolean {
    return this.#judge.get(id)?.owner.isHome === true;
  }

  #notify(): void {
    this.#changed = false;
    const { entities } = this.#judge;
    const processes = entities.filter(({ kind }) => kind === 'process').map(({ netns }) => netns);
    this.#unshown = new Set(processes.slice(PROCESSES_SHOWN_MAX));
    const shown = [...entities.filter(({ netns }) => !this.#unshown.has(netns)), ...this.#hostPods.values()];
    this.#living = shown.length;
    this.#listener([...shown, ...this.#retired.entities]);
  }

  /** Removes a namespace. Returns whether it had an owner. */
  #forget(id: NetnsId): boolean {
    this.#known.delete(id);
    // If the namespace is destroyed during the scan that found it, its owner has not been determined yet.
    if (this.#judge.get(id) === undefined) this.#judge.judge(id);
    const judged = this.#judge.remove(id);
    if (judged === undefined) return false;
    const { owner, entity, startSeconds } = judged;
    this.#bury(entity, false);
    // Namespaces that are named after a process are not retired.
    if (this.#watcher !== undefined && entity.kind !== 'process' && entity.kind !== 'node') {
      // A Pod has not ended if the namespace was not its home, or if it has another home now.
      const { kind, uid, isHome } = owner;
      if (uid === '' || (isHome && !this.#judge.isAtHome(uid)))
        this.#watcher.departed({ id, kind, uid, name: entity.pod, startSeconds });
    }
    return true;
  }

  /** Records that an entity is dead. Its last values are shown for a while. */
  #bury(entity: Entity, isFinal: boolean): void {
    this.#dead.set(entity.netns, ownerKey(entity), { entity, isFinal });
    if (this.#watcher !== undefined && entity.kind !== 'process' && entity.kind !== 'node')
      this.#retired.add(entity, this.#now() + this.#watcher.retireMs);
  }

  #sweep(live: readonly NetnsRow[] | undefined, nowMs: number): void {
    this.#sweptMs = nowMs;
    this.#liveBefore = this.#live;
    this.#live = live === undefined ? new Set(this.#known.keys()) : new Set(live.map(({ id }) => id));
    const isShown = (id: NetnsId) => this.#hostPods.has(id) || this.#retired.has(id);
    const isDead = (id: NetnsId) => !this.#live.has(id) && !this.#liveBefore.has(id) && !isShown(id);
    for (const sweep of this.#sweepers) sweep(isDead);
    this.#owners?.sweep(isDead);
  }
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text) => b.includes(text));
}
