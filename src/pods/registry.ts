import { join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import type { NetnsDeath, NetnsWatcher } from '#probe/life.ts';
import type { OwnerSlots } from '#probe/owners.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import type { NetnsEntry, NetnsIndex } from '#sources/netns.ts';
import { type ContainerRef, type OwnerFolders, ownerOfFolders } from './cgroup.ts';
import { DeadNamespaces } from './dead.ts';
import type { Entity, NetnsOwner } from './entity.ts';
import { OwnerJudge } from './judge.ts';
import type { Place } from './place.ts';
import { PROCESSES_MAX, type ProcessTable } from './process_table.ts';
import { isProcess, readContainer, readNetnsInum } from './processes.ts';
import type { LastWords } from './retired.ts';
import { Sandboxes } from './sandboxes.ts';
import { type Sweeper, Sweeps } from './sweeps.ts';
import { oldestFirst, tracesOf, withoutTable } from './traces.ts';

/** Milliseconds for which a namespace without its final owner is scanned again, because the owner may still appear. */
const YOUNG_MS = 10_000;
/**
 * Maximum number of namespaces named after a process that are shown. The limit exists because a process can create
 * thousands of namespaces.
 */
const PROCESSES_SHOWN_MAX = 256;
/**
 * Maximum number of dead entities to keep until it is known whether they lost packets. It is sufficient for two deaths
 * per second during two minutes.
 */
export const RETIRED_MAX = 256;

interface Known extends NetnsEntry {
  readonly bornMs: number;
  /** When the namespace was first listed or first reported by the kernel. */
  readonly listedMs: number;
  /** Processes in the namespace, oldest first. */
  readonly pids: readonly number[];
  readonly mounts: readonly string[];
  /**
   * First process that a scan or the kernel has reported. Processes rarely move to another namespace. If the namespace
   * of this process cannot be read, the process is therefore assumed to still be in it.
   */
  readonly first: { readonly pid: number; readonly startSeconds: number } | undefined;
  /** Whether the namespace is known only from a report of the kernel, so that a scan may reveal more about it. */
  readonly isUnconfirmed: boolean;
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
  /** Names of the cgroups in the path of the process that identify the owner. */
  readonly folders: OwnerFolders;
}

/** Source of births and deaths that occur between scans. */
export interface NetnsEvents {
  /** Delivers all events that have occurred so far. */
  drain(): void;
}

/**
 * Live, dead and retired network namespaces of this machine, with their owners. The scanner reports the results of its
 * scans, and the kernel reports births and deaths between scans.
 */
export class NetnsRegistry implements NetnsIndex {
  readonly #paths: Paths;
  readonly #listener: EntitiesListener;
  readonly #now: () => number;
  readonly #judge: OwnerJudge;
  readonly #sandboxes: Sandboxes;
  readonly #known = new Map<NetnsId, Known>();
  /**
   * Namespaces without visible processes or mounts, with the times when they were first listed. They belong to other
   * nodes on this machine.
   */
  readonly #unowned = new Map<NetnsId, number>();
  readonly #dead = new DeadNamespaces(RETIRED_MAX);
  readonly #sweeps = new Sweeps();
  /** Namespaces that exceed the limit {@link PROCESSES_SHOWN_MAX}. */
  #unshown: ReadonlySet<NetnsId> = new Set();
  /** Pods that share the node's namespace. */
  #hostPods: ReadonlyMap<NetnsId, Entity> = new Map();
  #events: NetnsEvents | undefined;
  #nested: ReadonlySet<NetnsId> = new Set();
  #changed = false;
  #hasMoved = false;
  /** When the first scan ended. */
  #lookedMs = Number.POSITIVE_INFINITY;
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

  /** Number of live namespaces that have no owner. */
  get unowned(): number {
    return this.#unowned.size;
  }

  /** Reports how many namespaces are not shown because there are too many; undefined if all are shown. */
  get crowd(): string | undefined {
    const { size } = this.#unshown;
    return size === 0
      ? undefined
      : `${size} namespaces that are named after a process are not shown, because the limit is ${PROCESSES_SHOWN_MAX}`;
  }

  get retired(): DeadNamespaces['retired'] {
    return this.#dead.retired;
  }

  /**
   * Returns the Pod of a process or socket in the node's namespace, unless the Pod has its home in another namespace.
   */
  hostPod(ref: ContainerRef): ReturnType<OwnerJudge['hostPod']> {
    return this.#judge.hostPod(ref);
  }

  /**
   * Sets the Pods that share the node's namespace. They are not part of any list of namespaces.
   * @param ended Pods that have ended since the last call; they are retired
   */
  setHostPods(pods: readonly Entity[], ended: readonly Entity[]): void {
    this.#hostPods = new Map(pods.map((entity) => [entity.netns, entity]));
    for (const entity of ended) this.#dead.bury(entity, true, this.#now());
    this.#notify();
  }

  /** Whether samples of the namespace are ignored because it is dead, has no owner, or is not shown. */
  isIgnored(id: NetnsId): boolean {
    return this.#dead.has(id) || this.#unowned.has(id) || this.#unshown.has(id);
  }

  isNobodys(id: NetnsId): boolean {
    return (this.#unowned.has(id) || this.#unshown.has(id)) && !this.#dead.retired.has(id);
  }

  /** Whether the namespace is not shown, or has no owner and is too old for one to be expected. */
  isUnowned(id: NetnsId): boolean {
    const listedMs = this.#unowned.get(id);
    return (listedMs !== undefined && !this.#isYoung(listedMs)) || this.#unshown.has(id);
  }

  /** Whether the namespace has an owner, or had one before it died. */
  wasOwned(id: NetnsId): boolean {
    return (this.#known.has(id) || this.#dead.has(id) || this.#hostPods.has(id)) && !this.#unshown.has(id);
  }

  /** Whether the namespace is dead and had an owner whose last values are no longer shown. */
  hasDeparted(id: NetnsId): boolean {
    return this.#dead.has(id) && !this.#known.has(id) && !this.#dead.retired.has(id);
  }

  /** Whether the namespace belongs to a user namespace other than the initial one, according to the kernel. */
  isNested(id: NetnsId): boolean {
    return this.#nested.has(id);
  }

  /** Returns the last owner of a dead namespace. */
  lastKnown(id: NetnsId): Entity | undefined {
    return this.#dead.lastKnown(id);
  }

  /** Whether the namespace was created recently, and after the first scan. If so, its counters started at zero. */
  isNew(id: NetnsId): boolean {
    const listedMs = this.#known.get(id)?.listedMs;
    return listedMs !== undefined && listedMs > this.#lookedMs && this.#now() - listedMs < YOUNG_MS;
  }

  /**
   * Drops retired entities that exceed the limit. Must be called at the end of a collection.
   * @param words returns how much trouble the last values of an entity show; undefined if they have not been collected
   *   yet
   * @param hasPods whether this node has Pods; if so, other entities are kept only if they lost packets or connections
   */
  chooseRetired(words: (id: NetnsId) => LastWords | undefined, hasPods: boolean): void {
    if (this.#dead.choose(words, hasPods, this.#living)) this.#notify();
  }

  /** Keeps a retired entity beyond its expiry as long as `isHeld` returns true for it. */
  holdRetired(isHeld: (id: NetnsId) => boolean): void {
    this.#dead.hold(isHeld);
  }

  /** Sets the owners whose slots are freed after each sweep. */
  holdOwners(owners: Pick<OwnerSlots, 'sweep'>): void {
    this.#sweeps.holdOwners(owners);
  }

  onSweep(sweep: Sweeper): Disposable {
    return this.#sweeps.add(sweep);
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
    this.#dead.watch(watcher);
    return {
      [Symbol.dispose]: () => {
        this.#dead.watch(undefined);
        this.#notify();
      },
    };
  }

  born({ id, inum, pid, startSeconds, folders }: NetnsBirth): void {
    const ref = ownerOfFolders(folders);
    const known = this.#known.get(id);
    if (ref === undefined || known?.isNode || this.#dead.isFinal(id)) return;
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
    this.#dead.revive(id);
    if (this.#judge.judge(id)) this.#notify();
  }

  died(death: NetnsDeath): void {
    this.#sweeps.hasDied();
    if (this.#forget(death.id)) this.#notify();
    this.#dead.died(death);
  }

  locate(entry: NetnsEntry): string | undefined {
    const known = this.#known.get(entry.id);
    for (const pid of known?.pids ?? []) {
      const directory = join(this.#paths.proc, String(pid));
      // The process may have ended, and its ID may have been reused.
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
   * Must be called before a scan. Returns the namespaces that are known at this moment. A namespace that is added later
   * may be missing from the data that the scan reads.
   */
  beforeLook(): readonly NetnsId[] {
    this.#events?.drain();
    this.#dead.beforeLook();
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

  /** Whether a scan could find something new: an unknown namespace, or a change indicated by {@link isUnsettled}. */
  needsScan(live: readonly NetnsRow[]): boolean {
    return this.isUnsettled || live.some(({ id }) => !this.#known.has(id) && !this.#unowned.has(id));
  }

  /** Whether the owner of a young namespace may still appear, or a process has moved to another namespace. */
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
   * Returns the known namespace with this inode number if one of the given processes was in it. If none was, the number
   * may have been reused.
   */
  heldBy(inum: number, pids: readonly number[]): NetnsId | undefined {
    const known = [...this.#known.values()].find((entry) => entry.inum === inum);
    return known?.pids.some((pid) => pids.includes(pid)) ? known.id : undefined;
  }

  /** Adds a namespace that a scan has found through a process or a mount. `judge` determines its owner later. */
  found(place: Place, isNode: boolean, table: Pick<ProcessTable, 'info'>): void {
    const { id, inum, pids, mounts, order } = place;
    // The kernel reported the death of the namespace during the scan.
    if (this.#dead.isFinal(id)) return;
    const known = this.#known.get(id);
    const bornMs = known?.bornMs ?? this.#now();
    this.#dead.revive(id);
    const oldest = known?.pids[0];
    const isLeft = oldest === undefined || !pids.includes(oldest);
    const isSame = known !== undefined && !isLeft && sameTexts(known.mounts, mounts);
    if (isSame && !this.#isYoung(bornMs) && this.#isSettled(id)) {
      this.#known.set(id, { ...known, pids: [oldest, ...pids.filter((pid) => pid !== oldest)] });
      return;
    }
    const processes = isNode ? [] : oldestFirst(pids, table);
    const [eldest] = processes;
    const first = eldest && withoutTable(eldest);
    const found = isNode ? pids.slice(0, PROCESSES_MAX) : processes.map(({ pid }) => pid);
    const listedMs = this.#listedMs(id, known, this.#now());
    this.#known.set(id, { id, inum, isNode, bornMs, listedMs, pids: found, mounts, first, isUnconfirmed: false });
    this.#judge.put(id, { inum, isNode, mounts, order, traces: tracesOf(processes), oldest: first });
  }

  /**
   * Determines the owner of each namespace. Must be called at the end of a scan.
   * @param atNode processes in the node's namespace
   */
  judge(atNode: readonly number[], table: Pick<ProcessTable, 'info'>): void {
    this.#judge.lookAtNode(atNode, table);
    if (this.#judge.judgeAll()) this.#changed = true;
  }

  /** Finds Pods in virtual machines, whose processes run outside of the Pod's cgroup. */
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

  /** Determines the owner of each namespace again, after Kubernetes has reported Pods. */
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
    if (this.#dead.expire(nowMs, (id) => this.#unowned.has(id))) {
      this.#changed = true;
      this.#sweeps.hasDied();
    }
    if (this.#changed) this.#notify();
    if (this.#sweeps.isDue(nowMs)) this.#sweep(live, nowMs);
  }

  #listedMs(id: NetnsId, known: Known | undefined, nowMs: number): number {
    // A namespace that was dead and reappears is not new.
    if (this.#dead.has(id)) return Number.NEGATIVE_INFINITY;
    return known?.listedMs ?? this.#unowned.get(id) ?? nowMs;
  }

  #isYoung(bornMs: number): boolean {
    return this.#now() - bornMs < YOUNG_MS;
  }

  /** Whether the namespace is the home of its owner. If so, later scans cannot find a better owner. */
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
    this.#listener([...shown, ...this.#dead.retired.entities]);
  }

  /** Removes a namespace. Returns whether it had an owner. */
  #forget(id: NetnsId): boolean {
    this.#known.delete(id);
    // If the namespace was destroyed during the scan that found it, its owner has not been determined yet.
    if (this.#judge.get(id) === undefined) this.#judge.judge(id);
    const judged = this.#judge.remove(id);
    if (judged === undefined) return false;
    const { owner, entity, startSeconds } = judged;
    this.#dead.bury(entity, false, this.#now());
    // The Pod has not ended if this namespace was not its home, or if it now has another home.
    const { kind, uid, isHome } = owner;
    if (uid === '' || (isHome && !this.#judge.isAtHome(uid)))
      this.#dead.departed(entity, { id, kind, uid, name: entity.pod, startSeconds });
    return true;
  }

  #sweep(live: readonly NetnsRow[] | undefined, nowMs: number): void {
    const alive = live === undefined ? this.#known.keys() : live.map(({ id }) => id);
    const isShown = (id: NetnsId) => this.#hostPods.has(id) || this.#dead.retired.has(id);
    this.#sweeps.sweep(new Set(alive), isShown, nowMs);
  }
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text) => b.includes(text));
}
