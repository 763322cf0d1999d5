import { join } from 'node:path';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import type { NetnsDeath, NetnsWatcher } from '#probe/life.ts';
import type { OwnerSlots } from '#probe/owners.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import type { NetnsEntry, NetnsIndex } from '#sources/netns.ts';
import { type OwnerFolders, ownerOfFolders } from './cgroup.ts';
import type { Entity, NetnsOwner } from './entity.ts';
import { OwnerJudge } from './judge.ts';
import type { Place } from './place.ts';
import { PROCESSES_MAX, type ProcessTable } from './process_table.ts';
import { isProcess, readContainer, readNetnsInum } from './processes.ts';
import { type LastWords, Retired, retiredMax } from './retired.ts';
import { Sandboxes } from './sandboxes.ts';
import { ownerKey, SharedRoom } from './shared_room.ts';
import { oldestFirst, tracesOf } from './traces.ts';

/** A younger namespace is scanned again: its owner may still appear, or join it from elsewhere. */
const YOUNG_MS = 10_000;
const SWEEP_EVERY_MS = 5_000;
/** Caps how many dead namespaces are remembered, so that their remaining samples are not counted as unknown. */
const DEAD_MAX = 4_096;
/** Caps how many namespaces are shown that only a process names: one process can make thousands of them. */
const PROCESSES_SHOWN_MAX = 256;
/** Caps how many dead entities are kept until their losses are known: two a second for two minutes. */
export const RETIRED_MAX = 256;

interface Known extends NetnsEntry {
  readonly bornMs: number;
  /** When it was first listed, or seen to begin. */
  readonly listedMs: number;
  /** Processes in it, the oldest first. */
  readonly pids: readonly number[];
  readonly mounts: readonly string[];
  /** The process that a scan or a birth saw first. It seldom leaves: an agent that may not check where it is now relies on it. */
  readonly first: { readonly pid: number; readonly startSeconds: number } | undefined;
  /** Whether only a birth has reported it: the next scan may know better. */
  readonly isUnconfirmed: boolean;
}

/** Last owner of a dead namespace. */
interface Dead {
  readonly entity: Entity;
  /** Whether the kernel has destroyed it, so that it does not come back. */
  readonly isFinal: boolean;
}

/** Receives the entities whose namespaces are alive, and after them the retired ones, in the order of their deaths. */
export type EntitiesListener = (entities: readonly Entity[]) => void;

/** A namespace in which a process of a Pod or a container was seen as soon as it began. */
export interface NetnsBirth {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pid: number;
  /** Start of the process, in seconds after boot. */
  readonly startSeconds: number;
  /** Owner, from the path of its control group. */
  readonly folders: OwnerFolders;
}

/** Reports births and deaths to the registry between two looks at the machine. */
export interface NetnsEvents {
  /** Passes on all events until now. */
  drain(): void;
}

/**
 * The network namespaces of this machine: known, dead or retired, with the owner of each. It lists nothing itself: the scanner reports
 * what it has found, and the kernel reports births and deaths between two scans.
 */
export class NetnsRegistry implements NetnsIndex {
  readonly #paths: Paths;
  readonly #listener: EntitiesListener;
  readonly #now: () => number;
  readonly #judge: OwnerJudge;
  readonly #sandboxes: Sandboxes;
  readonly #known = new Map<NetnsId, Known>();
  /** First listing of namespaces that have no process that we see and no mount: they are another node's, on a machine that plays several. */
  readonly #unowned = new Map<NetnsId, number>();
  readonly #dead = new SharedRoom<Dead>(DEAD_MAX);
  readonly #retired = new Retired(RETIRED_MAX);
  readonly #sweepers = new Set<(isDead: (id: NetnsId) => boolean) => void>();
  /** Namespaces past {@link PROCESSES_SHOWN_MAX}. */
  #unshown: ReadonlySet<NetnsId> = new Set();
  #owners: Pick<OwnerSlots, 'sweep'> | undefined;
  #events: NetnsEvents | undefined;
  #watcher: NetnsWatcher | undefined;
  #nested: ReadonlySet<NetnsId> = new Set();
  #live: ReadonlySet<NetnsId> = new Set();
  #liveBefore: ReadonlySet<NetnsId> = new Set();
  #sweptMs = Number.NEGATIVE_INFINITY;
  #changed = false;
  #hasMoved = false;
  /** Time after the first look at the machine. */
  #lookedMs = Number.POSITIVE_INFINITY;
  #isHeld: (id: NetnsId) => boolean = () => false;
  /** Number of live entities that are shown. */
  #living = 0;

  visibilityGap: string | undefined;

  /**
   * @param hostNetwork whether Kubernetes says that a Pod, by its UID, uses the node's network; undefined where it says nothing
   * @param now monotonic clock, in milliseconds
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

  /** Number of live namespaces that are unowned. */
  get unowned(): number {
    return this.#unowned.size;
  }

  /** Describes the namespaces that are too many to be shown; undefined where all are shown. */
  get crowd(): string | undefined {
    const { size } = this.#unshown;
    return size === 0
      ? undefined
      : `${size} namespaces that only a process names are not shown: the limit is ${PROCESSES_SHOWN_MAX}`;
  }

  get retired(): Pick<Retired, 'entities' | 'size' | 'unknown' | 'dropped' | 'passedOver'> {
    return this.#retired;
  }

  /** Returns whether the namespace is known to have no owner: it is dead, or unowned. */
  isIgnored(id: NetnsId): boolean {
    return this.#dead.has(id) || this.#unowned.has(id) || this.#unshown.has(id);
  }

  isNobodys(id: NetnsId): boolean {
    return (this.#unowned.has(id) || this.#unshown.has(id)) && !this.#retired.has(id);
  }

  /** Returns whether no owner was found for the namespace, though it is no longer young: an owner is unlikely to appear any more. */
  isUnowned(id: NetnsId): boolean {
    const listedMs = this.#unowned.get(id);
    return (listedMs !== undefined && !this.#isYoung(listedMs)) || this.#unshown.has(id);
  }

  /** Returns whether the namespace has an owner, or had one before it died. */
  wasOwned(id: NetnsId): boolean {
    return (this.#known.has(id) || this.#dead.has(id)) && !this.#unshown.has(id);
  }

  /** Returns whether the namespace had an owner, and its last values are no longer shown. */
  hasDeparted(id: NetnsId): boolean {
    return this.#dead.has(id) && !this.#known.has(id) && !this.#retired.has(id);
  }

  /** Returns whether the kernel lists the namespace as made by a process that is root only in a user namespace of its own. */
  isNested(id: NetnsId): boolean {
    return this.#nested.has(id);
  }

  /** Returns the last owner of a dead namespace. */
  lastKnown(id: NetnsId): Entity | undefined {
    return this.#dead.get(id)?.entity;
  }

  /** Returns whether a namespace has only just begun, after our first look: one that existed before has counters with a past. */
  isNew(id: NetnsId): boolean {
    const listedMs = this.#known.get(id)?.listedMs;
    return listedMs !== undefined && listedMs > this.#lookedMs && this.#now() - listedMs < YOUNG_MS;
  }

  /**
   * Drops the dead that exceed their share of the page. To be called when a collection has ended.
   * @param words losses that the last values of an entity show; undefined where they are not collected yet
   * @param hasPods whether this node has Pods: other namespaces then stay only where they have lost something
   */
  chooseRetired(words: (id: NetnsId) => LastWords | undefined, hasPods: boolean): void {
    if (this.#watcher === undefined) return;
    const max = retiredMax(this.#living, this.#watcher.retireShare);
    if (this.#retired.choose({ max, hasPods, words })) this.#notify();
  }

  /** Keeps retired entities past their time while `isHeld`. */
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

  /** Receives births and deaths from there until disposed. */
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
      // The process may have gone, and its number may belong to another.
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

  /** To be called before the machine is looked at. Returns the known namespaces: one born later may be missing from what is read from now on. */
  beforeLook(): readonly NetnsId[] {
    this.#events?.drain();
    this.#watcher?.beforeLook();
    return [...this.#known.keys()];
  }

  /** Removes those of `before` that the kernel does not list any more. */
  removeDead(before: readonly NetnsId[], live: readonly NetnsRow[]): void {
    const ids = new Set(live.map(({ id }) => id));
    this.removeMissing(before, ids);
    for (const id of this.#unowned.keys()) if (!ids.has(id)) this.#unowned.delete(id);
  }

  /** Removes those of `before` that are not among the others. */
  removeMissing(before: readonly NetnsId[], others: ReadonlySet<NetnsId>): void {
    for (const id of before) if (!others.has(id) && this.#forget(id)) this.#changed = true;
  }

  /** Returns whether a scan may find something: a new namespace, or a change that {@link isUnsettled} reports. */
  needsScan(live: readonly NetnsRow[]): boolean {
    return this.isUnsettled || live.some(({ id }) => !this.#known.has(id) && !this.#unowned.has(id));
  }

  /** Whether a namespace is so young that its owner may still appear, or a process has moved. */
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
   * Returns the known namespace that has a number, where one of its former processes still holds it: otherwise the number may be
   * another's by now.
   */
  heldBy(inum: number, pids: readonly number[]): NetnsId | undefined {
    const known = [...this.#known.values()].find((entry) => entry.inum === inum);
    return known?.pids.some((pid) => pids.includes(pid)) ? known.id : undefined;
  }

  /** Records a namespace that a scan has found, with a process in it or a mount. `judge` determines its owner. */
  found(place: Place, isNode: boolean, table: Pick<ProcessTable, 'info'>): void {
    const { id, inum, pids, mounts, order } = place;
    // Its end was reported while the scan went on.
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
   * Determines the owner of each namespace from all that was found: to be called at the end of a scan.
   * @param atNode processes in the node's own namespace
   */
  judge(atNode: readonly number[], table: Pick<ProcessTable, 'info'>): void {
    this.#judge.lookAtNode(atNode, table);
    if (this.#judge.judgeAll()) this.#changed = true;
  }

  /** Looks for the Pods of virtual machines that run outside their cgroups. */
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

  /** Determines the owner of each namespace again, because Kubernetes knows more. */
  judgeAgain(): void {
    if (this.#judge.judgeAll()) this.#notify();
  }

  /** Marks as unowned the namespaces that the kernel lists and no scan has found. */
  noteUnowned(live: Iterable<NetnsRow>): void {
    for (const { id } of live) {
      if (this.#known.has(id)) this.#unowned.delete(id);
      else if (!this.#unowned.has(id)) this.#unowned.set(id, this.#now());
    }
  }

  /** To be called after the machine was looked at. @param live namespaces that the kernel lists, where it can be asked */
  afterLook(live: readonly NetnsRow[] | undefined): void {
    const nowMs = this.#now();
    if (this.#lookedMs > nowMs) this.#lookedMs = nowMs;
    this.#nested = new Set(live?.flatMap(({ id, isNested }) => (isNested ? [id] : [])));
    if (this.#retired.expire(nowMs, this.#isHeld)) this.#changed = true;
    if (this.#changed) this.#notify();
    if (nowMs - this.#sweptMs >= SWEEP_EVERY_MS) this.#sweep(live, nowMs);
  }

  #listedMs(id: NetnsId, known: Known | undefined, nowMs: number): number {
    // A namespace that comes back existed before.
    if (this.#dead.has(id)) return Number.NEGATIVE_INFINITY;
    return known?.listedMs ?? this.#unowned.get(id) ?? nowMs;
  }

  #isYoung(bornMs: number): boolean {
    return this.#now() - bornMs < YOUNG_MS;
  }

  /** Returns whether the owner at home there is known, so that no later scan learns anything better. */
  #isSettled(id: NetnsId): boolean {
    return this.#judge.get(id)?.owner.isHome === true;
  }

  #notify(): void {
    this.#changed = false;
    const { entities } = this.#judge;
    const processes = entities.filter(({ kind }) => kind === 'process').map(({ netns }) => netns);
    this.#unshown = new Set(processes.slice(PROCESSES_SHOWN_MAX));
    const shown = entities.filter(({ netns }) => !this.#unshown.has(netns));
    this.#living = shown.length;
    this.#listener([...shown, ...this.#retired.entities]);
  }

  /** Returns whether it was known. */
  #forget(id: NetnsId): boolean {
    this.#known.delete(id);
    // The namespace ends while the scan that has found it goes on.
    if (this.#judge.get(id) === undefined) this.#judge.judge(id);
    const judged = this.#judge.remove(id);
    if (judged === undefined) return false;
    const { owner, entity, startSeconds } = judged;
    this.#dead.set(id, ownerKey(entity), { entity, isFinal: false });
    // A namespace that only a process named is not asked for any more.
    if (this.#watcher !== undefined && entity.kind !== 'process' && entity.kind !== 'node') {
      this.#retired.add(entity, this.#now() + this.#watcher.retireMs);
      // A Pod lives on that has lost a namespace that it had made or entered, or that has another home now.
      const { kind, uid, isHome } = owner;
      if (uid === '' || (isHome && !this.#judge.isAtHome(uid)))
        this.#watcher.departed({ id, kind, uid, name: entity.pod, startSeconds });
    }
    return true;
  }

  #sweep(live: readonly NetnsRow[] | undefined, nowMs: number): void {
    this.#sweptMs = nowMs;
    this.#liveBefore = this.#live;
    this.#live = live === undefined ? new Set(this.#known.keys()) : new Set(live.map(({ id }) => id));
    const isDead = (id: NetnsId) => !this.#live.has(id) && !this.#liveBefore.has(id) && !this.#retired.has(id);
    for (const sweep of this.#sweepers) sweep(isDead);
    this.#owners?.sweep(isDead);
  }
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text) => b.includes(text));
}
