import { join } from 'node:path';
import type { NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import type { NetnsDeath, NetnsWatcher } from '#probe/life.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import type { NetnsEntry, NetnsIndex } from '#sources/netns.ts';
import { ownerOfFolders } from './cgroup.ts';
import type { Entity, NetnsOwner } from './entity.ts';
import { containerEntity, keepOwner, type Ownership, ownerOf, type Place, sameName } from './owner.ts';
import type { ProcessTable } from './process_table.ts';
import { isProcess, readContainer, readNetnsInum } from './processes.ts';
import { Retired } from './retired.ts';

/** A younger namespace is scanned again: its owner may still appear, or join it from elsewhere. */
const YOUNG_MS = 10_000;
const SWEEP_EVERY_MS = 5_000;
/** Caps how many dead namespaces are remembered, so that what is left of them is not counted as unknown. */
const DEAD_MAX = 4_096;
/** Caps how many dead entities are still shown: two a second for two minutes. */
const RETIRED_MAX = 256;

interface Known extends NetnsEntry {
  readonly bornMs: number;
  /** When it was first listed, or seen to begin. */
  readonly listedMs: number;
  pids: readonly number[];
  mount: string | undefined;
  ownership: Ownership;
  /** The process that a scan or a birth saw first. It seldom leaves: an agent that may not look where it is now relies on it. */
  readonly first: { readonly pid: number; readonly startSeconds: number } | undefined;
}

/** Whose a namespace was. */
interface Dead {
  readonly entity: Entity;
  /** The kernel has taken it down: it does not come back. */
  readonly isFinal: boolean;
}

/** Gets the entities whose namespaces are alive, and after them the retired ones, in the order of their deaths. */
export type EntitiesListener = (entities: readonly Entity[]) => void;

/** A namespace in which a Pod's or a container's process was seen at once when it began. */
export interface NetnsBirth {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pid: number;
  /** When the process began, in seconds after boot. */
  readonly startSeconds: number;
  /** The innermost folders of its control group that may be a Pod's and a container's. */
  readonly podFolder: string;
  readonly containerFolder: string;
}

/** Tells the registry of births and deaths between two looks at the machine. */
export interface NetnsEvents {
  /** Passes on all that has been told until now. */
  drain(): void;
}

/**
 * The network namespaces of this machine: which are known, dead or retired, and whose each is. It lists nothing itself: the
 * scanner tells what it has found, and the kernel births and deaths between two scans.
 */
export class NetnsRegistry implements NetnsIndex {
  readonly #paths: Paths;
  readonly #listener: EntitiesListener;
  readonly #now: () => number;
  readonly #ownContainer: string | undefined;
  readonly #known = new Map<NetnsId, Known>();
  /** When namespaces were first listed that have no process that we see and no mount: another node's, on a machine that plays several. */
  readonly #unowned = new Map<NetnsId, number>();
  readonly #dead = new Map<NetnsId, Dead>();
  readonly #retired = new Retired(RETIRED_MAX);
  readonly #sweepers = new Set<(isDead: (id: NetnsId) => boolean) => void>();
  #events: NetnsEvents | undefined;
  #watcher: NetnsWatcher | undefined;
  #live: ReadonlySet<NetnsId> = new Set();
  #liveBefore: ReadonlySet<NetnsId> = new Set();
  #sweptMs = Number.NEGATIVE_INFINITY;
  #changed = false;
  #hasMoved = false;
  /** When the machine had been looked at for the first time. */
  #lookedMs = Number.POSITIVE_INFINITY;
  #isHeld: (id: NetnsId) => boolean = () => false;

  visibilityGap: string | undefined;

  /** @param now a clock that nobody sets, in milliseconds */
  constructor(paths: Paths, listener: EntitiesListener = () => undefined, now = () => performance.now()) {
    this.#paths = paths;
    this.#listener = listener;
    this.#now = now;
    this.#ownContainer = readContainer(paths.proc, 'self')?.containerId;
  }

  snapshot(): readonly NetnsEntry[] {
    return [...this.#known.values()];
  }

  owners(): readonly NetnsOwner[] {
    return [...this.#known.values()].map(({ ownership, pids }) => ({ entity: ownership.entity, pids }));
  }

  get node(): NetnsEntry | undefined {
    return this.snapshot().find(({ isNode }) => isNode);
  }

  /** Namespaces that are alive and belong to nobody. */
  get unowned(): number {
    return this.#unowned.size;
  }

  get retired(): Pick<Retired, 'size' | 'dropped'> {
    return this.#retired;
  }

  /** Whether the namespace is known to belong to nobody: it is dead, or unowned. */
  isIgnored(id: NetnsId): boolean {
    return this.#dead.has(id) || this.#unowned.has(id);
  }

  /** Whose a dead namespace was. */
  lastKnown(id: NetnsId): Entity | undefined {
    return this.#dead.get(id)?.entity;
  }

  /** Whether a namespace has only just begun, and while we looked: one that was there before has counters with a past. */
  isNew(id: NetnsId): boolean {
    const listedMs = this.#known.get(id)?.listedMs;
    return listedMs !== undefined && listedMs > this.#lookedMs && this.#now() - listedMs < YOUNG_MS;
  }

  /** Keeps what is retired past its time while `isHeld`. */
  holdRetired(isHeld: (id: NetnsId) => boolean): void {
    this.#isHeld = isHeld;
  }

  onSweep(sweep: (isDead: (id: NetnsId) => boolean) => void): Disposable {
    this.#sweepers.add(sweep);
    return { [Symbol.dispose]: () => void this.#sweepers.delete(sweep) };
  }

  /** Takes births and deaths from there until disposed. */
  listen(events: NetnsEvents): Disposable {
    this.#events = events;
    return {
      [Symbol.dispose]: () => {
        this.#events = undefined;
      },
    };
  }

  /** As `NetnsLife.watch`. */
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

  born({ id, inum, pid, startSeconds, podFolder, containerFolder }: NetnsBirth): void {
    const container = ownerOfFolders(podFolder, containerFolder);
    if (this.#ownContainer !== undefined && container?.containerId === this.#ownContainer) return;
    const known = this.#known.get(id);
    const entry = { id, inum, isNode: false };
    const entity = containerEntity(entry, container);
    if (entity === undefined || known?.isNode || known?.ownership.settled || this.#dead.get(id)?.isFinal) return;
    const bornMs = known?.bornMs ?? this.#now();
    const listedMs = this.#listedMs(id, known, bornMs);
    const ownership = { entity, pids: [pid], startSeconds, settled: true };
    const pids = [pid, ...(known?.pids ?? [])];
    const first = { pid, startSeconds };
    this.#known.set(id, { ...entry, bornMs, listedMs, pids, mount: known?.mount, ownership, first });
    this.#unowned.delete(id);
    this.#retired.delete(id);
    this.#notify();
  }

  died(death: NetnsDeath): void {
    const { id } = death;
    if (this.#forget(id)) this.#notify();
    const dead = this.#dead.get(id);
    if (dead !== undefined) this.#dead.set(id, { ...dead, isFinal: true });
    this.#watcher?.died(death, this.#retired.has(id));
  }

  locate(entry: NetnsEntry): string | undefined {
    const known = this.#known.get(entry.id);
    for (const pid of known?.pids ?? []) {
      const directory = join(this.#paths.proc, String(pid));
      // The process may have gone, and its number to another.
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
    const mount = this.#known.get(entry.id)?.mount;
    return mount === undefined ? undefined : join(this.#paths.netns, mount);
  }

  /** To be called before the machine is looked at. Returns the namespaces that are known: one born later may not be in what is read from now on. */
  beforeLook(): readonly NetnsId[] {
    this.#events?.drain();
    this.#watcher?.beforeLook();
    return [...this.#known.keys()];
  }

  /** Takes out those of `before` that the kernel does not list any more. */
  removeDead(before: readonly NetnsId[], live: readonly NetnsRow[]): void {
    const ids = new Set(live.map(({ id }) => id));
    this.removeMissing(before, ids);
    for (const id of this.#unowned.keys()) if (!ids.has(id)) this.#unowned.delete(id);
  }

  /** Takes out those of `before` that are not among the others. */
  removeMissing(before: readonly NetnsId[], others: ReadonlySet<NetnsId>): void {
    for (const id of before) if (!others.has(id) && this.#forget(id)) this.#changed = true;
  }

  /** Whether a scan may find something: a namespace that is new, or so young that its owner may still appear, or a process that has moved. */
  needsScan(live: readonly NetnsRow[]): boolean {
    const isYoung = (bornMs: number) => this.#now() - bornMs < YOUNG_MS;
    return (
      this.#hasMoved ||
      live.some(({ id }) => !this.#known.has(id) && !this.#unowned.has(id)) ||
      [...this.#unowned.values()].some(isYoung) ||
      [...this.#known.values()].some(({ bornMs, ownership }) => !ownership.settled && isYoung(bornMs))
    );
  }

  scanBegins(): void {
    this.#hasMoved = false;
  }

  /** The known namespace that has a number, held by one of the processes that were in it before: without one the number may be another's by now. */
  heldBy(inum: number, pids: readonly number[]): NetnsId | undefined {
    const known = [...this.#known.values()].find((entry) => entry.inum === inum);
    return known?.pids.some((pid) => pids.includes(pid)) ? known.id : undefined;
  }

  /** A scan has found a namespace, with a process in it or a mount. */
  found(place: Place, isNode: boolean, table: Pick<ProcessTable, 'info'>): void {
    const { id, inum, pids, mount } = place;
    const nowMs = this.#now();
    const known = this.#known.get(id);
    const isYoung = known === undefined || nowMs - known.bornMs < YOUNG_MS;
    const oldest = known?.pids[0];
    if (known !== undefined && !isYoung && known.mount === mount && oldest !== undefined && pids.includes(oldest)) {
      known.pids = [oldest, ...pids.filter((pid) => pid !== oldest)];
      return;
    }
    // Its end was told while the scan went on.
    if (this.#dead.get(id)?.isFinal) return;
    const entry = { id, inum, isNode };
    const now = ownerOf(entry, place, table, this.#ownContainer);
    const ownership = keepOwner(known?.ownership, now);
    const [pid] = now.pids;
    const first =
      pid === undefined || now.startSeconds === undefined ? undefined : { pid, startSeconds: now.startSeconds };
    const bornMs = known?.bornMs ?? nowMs;
    const listedMs = this.#listedMs(id, known, nowMs);
    this.#retired.delete(id);
    this.#known.set(id, { ...entry, bornMs, listedMs, pids: ownership.pids, mount, ownership, first });
    if (known === undefined || !sameName(known.ownership.entity, ownership.entity)) this.#changed = true;
  }

  /** Of the namespaces that the kernel lists, those are unowned that no scan has found. */
  noteUnowned(live: Iterable<NetnsRow>): void {
    for (const { id } of live) {
      if (this.#known.has(id)) this.#unowned.delete(id);
      else if (!this.#unowned.has(id)) this.#unowned.set(id, this.#now());
    }
  }

  /** To be called when the machine has been looked at. @param live namespaces that the kernel lists, where it can be asked */
  afterLook(live: readonly NetnsRow[] | undefined): void {
    const nowMs = this.#now();
    if (this.#lookedMs > nowMs) this.#lookedMs = nowMs;
    if (this.#retired.expire(nowMs, this.#isHeld)) this.#changed = true;
    if (this.#changed) this.#notify();
    if (nowMs - this.#sweptMs >= SWEEP_EVERY_MS) this.#sweep(live, nowMs);
  }

  #listedMs(id: NetnsId, known: Known | undefined, nowMs: number): number {
    // One that comes back was there before.
    if (this.#dead.has(id)) return Number.NEGATIVE_INFINITY;
    return known?.listedMs ?? this.#unowned.get(id) ?? nowMs;
  }

  #notify(): void {
    this.#changed = false;
    const alive = [...this.#known.values()].map(({ ownership }) => ownership.entity);
    this.#listener([...alive, ...this.#retired.entities]);
  }

  /** Returns whether it was known. */
  #forget(id: NetnsId): boolean {
    const known = this.#known.get(id);
    if (known === undefined) return false;
    this.#known.delete(id);
    const { entity, startSeconds } = known.ownership;
    this.#dead.set(id, { entity, isFinal: false });
    if (this.#dead.size > DEAD_MAX) {
      const [oldest] = this.#dead.keys();
      if (oldest !== undefined) this.#dead.delete(oldest);
    }
    // Nobody asks any more for a namespace that only a process gave a name.
    if (this.#watcher !== undefined && entity.kind !== 'process' && entity.kind !== 'node') {
      this.#retired.add(entity, this.#now() + this.#watcher.retireMs);
      this.#watcher.departed({ id, kind: entity.kind, uid: entity.uid, name: entity.pod, startSeconds });
    }
    return true;
  }

  #sweep(live: readonly NetnsRow[] | undefined, nowMs: number): void {
    this.#sweptMs = nowMs;
    this.#liveBefore = this.#live;
    this.#live = live === undefined ? new Set(this.#known.keys()) : new Set(live.map(({ id }) => id));
    const isDead = (id: NetnsId) => !this.#live.has(id) && !this.#liveBefore.has(id) && !this.#retired.has(id);
    for (const sweep of this.#sweepers) sweep(isDead);
  }
}
