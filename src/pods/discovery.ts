import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Cycle, freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import { livedBetween, type NetnsRow } from '#sources/bpf/netns_list.ts';
import type { NetnsBirth, NetnsEntry, NetnsIndex, NetnsLife, NetnsWatcher } from '#sources/netns.ts';
import { missingCapabilities } from '#sources/procfs/capabilities.ts';
import { listDirectory } from '#sources/procfs/read.ts';
import { ownerOfFolders } from './cgroup.ts';
import { containerEntity, type Described, describe, keepOwner, sameName } from './describe.ts';
import type { Entity, NetnsOwner } from './entity.ts';
import { readNetnsMounts } from './mounts.ts';
import type { NetnsKernel } from './netns_kernel.ts';
import { type NetnsProcesses, type ProcessTable, readProcessFiles } from './process_table.ts';
import { isProcess, readContainer, readNetnsInum } from './processes.ts';
import { Retired } from './retired.ts';

/** A scan looks at every process; where the kernel lists the namespaces it is needed only when something is new. */
const SCAN_EVERY_MS = 30_000;
const SCAN_ALONE_EVERY_MS = 900;
/** So long a namespace is new: its owner may still appear, or join it from elsewhere. */
const YOUNG_MS = 10_000;
const SWEEP_EVERY_MS = 5_000;
/** Dead namespaces that are remembered, so that what is left of them is not counted as unknown. */
const DEAD_MAX = 4_096;
/** Dead entities that are still shown: two a second for two minutes. */
const RETIRED_MAX = 256;

interface Known extends NetnsEntry {
  readonly bornMs: number;
  pids: readonly number[];
  mount: string | undefined;
  described: Described;
  /** The first of the processes, as the scan found it. Who began in a namespace seldom leaves it: for who may not look where it is now. */
  readonly first: { readonly pid: number; readonly startSeconds: number } | undefined;
}

/** A namespace as a scan finds it. */
interface Place {
  readonly id: NetnsId;
  readonly inum: number;
  readonly pids: readonly number[];
  readonly mount: string | undefined;
}

/** Whose a namespace was. */
interface Dead {
  readonly entity: Entity;
  /** The kernel has taken it down: it does not come back. */
  readonly isFinal: boolean;
}

/** Gets those whose namespaces are alive, and after them the retired ones, in the order of their deaths. */
export type EntitiesListener = (entities: readonly Entity[]) => void;

/** Which network namespaces there are, and whose each is. */
export class Discovery implements NetnsIndex, NetnsLife {
  readonly #paths: Paths;
  readonly #kernel: NetnsKernel;
  readonly #changed: EntitiesListener;
  readonly #known = new Map<NetnsId, Known>();
  /** Namespaces without a process that we see and without a mount: another node's, on a machine that plays several. */
  readonly #strangers = new Map<NetnsId, number>();
  readonly #dead = new Map<NetnsId, Dead>();
  readonly #retired = new Retired(RETIRED_MAX);
  #watcher: NetnsWatcher | undefined;
  readonly #sweepers = new Set<(isDead: (id: NetnsId) => boolean) => void>();
  readonly #ownContainer: string | undefined;
  readonly #mayLookAtAll: boolean;
  #live: ReadonlySet<NetnsId> = new Set();
  #liveBefore: ReadonlySet<NetnsId> = new Set();
  #mountNames = '';
  #scannedMs = Number.NEGATIVE_INFINITY;
  #sweptMs = Number.NEGATIVE_INFINITY;
  #scanRequested = false;
  #unreadable = 0;
  #reader: 'pass' | 'files' = 'files';
  #refreshing: Promise<void> | undefined;

  constructor(paths: Paths, kernel: NetnsKernel, changed: EntitiesListener) {
    this.#paths = paths;
    this.#kernel = kernel;
    this.#changed = changed;
    this.#ownContainer = readContainer(paths.proc, 'self')?.containerId;
    this.#mayLookAtAll = missingCapabilities(['CAP_SYS_PTRACE'], paths.proc).length === 0;
  }

  snapshot(): readonly NetnsEntry[] {
    return [...this.#known.values()];
  }

  owners(): readonly NetnsOwner[] {
    return [...this.#known.values()].map(({ described, pids }) => ({ entity: described.entity, pids }));
  }

  get node(): NetnsEntry | undefined {
    return this.snapshot().find(({ isNode }) => isNode);
  }

  /** What the last scan has read. */
  get reader(): 'pass' | 'files' {
    return this.#reader;
  }

  /** Processes that the last scan could not look into. */
  get unreadableProcesses(): number {
    return this.#unreadable;
  }

  /** The right that it takes to look at other users' processes is the one thing that hides whole Pods. */
  get blindness(): string | undefined {
    if (this.#unreadable === 0 || this.#mayLookAtAll) return undefined;
    return `CAP_SYS_PTRACE is missing: Pods of which only processes of other users tell are not seen (${this.#unreadable} processes)`;
  }

  /** Namespaces that are alive and nobody's. */
  get strangers(): number {
    return this.#strangers.size;
  }

  get retired(): Pick<Retired, 'size' | 'dropped'> {
    return this.#retired;
  }

  /** Whether it is known to be nobody's: dead, or a stranger. */
  isIgnored(id: NetnsId): boolean {
    return this.#dead.has(id) || this.#strangers.has(id);
  }

  /** Whose a dead namespace was. */
  lastKnown(id: NetnsId): Entity | undefined {
    return this.#dead.get(id)?.entity;
  }

  onSweep(sweep: (isDead: (id: NetnsId) => boolean) => void): Disposable {
    this.#sweepers.add(sweep);
    return { [Symbol.dispose]: () => void this.#sweepers.delete(sweep) };
  }

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
    if (entity === undefined || known?.isNode || known?.described.settled || this.#dead.get(id)?.isFinal) return;
    const bornMs = known?.bornMs ?? performance.now();
    const described = { entity, pids: [pid], startSeconds, settled: true };
    const pids = [pid, ...(known?.pids ?? [])];
    this.#known.set(id, { ...entry, bornMs, pids, mount: known?.mount, described, first: { pid, startSeconds } });
    this.#strangers.delete(id);
    this.#retired.delete(id);
    this.#notify();
  }

  died(id: NetnsId): boolean {
    if (this.#forget(id)) this.#notify();
    const dead = this.#dead.get(id);
    if (dead !== undefined) this.#dead.set(id, { ...dead, isFinal: true });
    return this.#retired.has(id);
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
      if (inum !== 'unreadable') this.#scanRequested = true;
    }
    return undefined;
  }

  mountOf(entry: NetnsEntry): string | undefined {
    const mount = this.#known.get(entry.id)?.mount;
    return mount === undefined ? undefined : join(this.#paths.netns, mount);
  }

  /**
   * Looks for births and deaths. Cheap where nothing has changed: to be called every second and before each scrape.
   * @throws where /proc cannot be read
   */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refresh(): Promise<void> {
    this.#watcher?.beforeLook();
    const nowMs = performance.now();
    const cycle = freeCycle();
    // Who is born from here on may not be in what is read from here on.
    const before = [...this.#known.keys()];
    const live = await this.#kernel.list(cycle);
    let changed = live !== undefined && this.#removeDead(before, new Set(live.map(({ id }) => id)));
    if (this.#scanDue(live, nowMs)) {
      this.#scanRequested = false;
      this.#scannedMs = nowMs;
      changed = (await this.#scan(live, before, nowMs, cycle)) || changed;
    }
    changed = this.#retired.expire(nowMs) || changed;
    if (changed) this.#notify();
    this.#sweep(live, nowMs);
  }

  #notify(): void {
    const alive = [...this.#known.values()].map(({ described }) => described.entity);
    this.#changed([...alive, ...this.#retired.entities]);
  }

  #scanDue(live: readonly NetnsRow[] | undefined, nowMs: number): boolean {
    const sinceMs = nowMs - this.#scannedMs;
    if (live === undefined) return sinceMs >= SCAN_ALONE_EVERY_MS;
    if (this.#scanRequested || sinceMs >= SCAN_EVERY_MS) return true;
    if (live.some(({ id }) => !this.#known.has(id) && !this.#strangers.has(id))) return true;
    if (this.#mountsChanged()) return true;
    const isYoung = (bornMs: number) => nowMs - bornMs < YOUNG_MS;
    return (
      [...this.#strangers.values()].some(isYoung) ||
      [...this.#known.values()].some(({ bornMs, described }) => !described.settled && isYoung(bornMs))
    );
  }

  #mountsChanged(): boolean {
    return listDirectory(this.#paths.netns).join('/') !== this.#mountNames;
  }

  #removeDead(before: readonly NetnsId[], live: ReadonlySet<NetnsId>): boolean {
    const dead = before.filter((id) => !live.has(id) && this.#forget(id));
    for (const id of this.#strangers.keys()) if (!live.has(id)) this.#strangers.delete(id);
    return dead.length > 0;
  }

  /** Returns whether it was known. */
  #forget(id: NetnsId): boolean {
    const known = this.#known.get(id);
    if (known === undefined) return false;
    this.#known.delete(id);
    const { entity, startSeconds } = known.described;
    this.#dead.set(id, { entity, isFinal: false });
    if (this.#dead.size > DEAD_MAX) {
      const [oldest] = this.#dead.keys();
      if (oldest !== undefined) this.#dead.delete(oldest);
    }
    // Of a namespace that only a process gave a name nobody will ask any more.
    if (this.#watcher !== undefined && entity.kind !== 'process' && entity.kind !== 'node') {
      this.#retired.add(entity, performance.now() + this.#watcher.retireMs);
      this.#watcher.departed({ id, kind: entity.kind, uid: entity.uid, name: entity.pod, startSeconds });
    }
    return true;
  }

  /** Returns whether any entity is new, gone or named otherwise. */
  async #scan(
    before: readonly NetnsRow[] | undefined,
    known: readonly NetnsId[],
    nowMs: number,
    cycle: Cycle,
  ): Promise<boolean> {
    this.#mountNames = listDirectory(this.#paths.netns).join('/');
    const mounts = readNetnsMounts(this.#paths.netns);
    const table = await this.#readProcesses(cycle);
    // A number may have passed to another namespace during the scan; one that lived before and after is sure.
    const after = before && (await this.#kernel.list(cycle));
    const sure = before && after ? livedBetween(before, after) : undefined;
    const places = this.#join(table, mounts, sure);
    const nodeId = this.#nodeId(places, sure);

    let changed = false;
    for (const { id, inum, pids, mount } of places) {
      changed = this.#update({ id, inum, isNode: id === nodeId }, pids, mount, table, nowMs) || changed;
      await cycle.pause();
    }
    // Its last sockets may keep a namespace alive for a while, but nobody is left in it.
    const found = new Set(places.map(({ id }) => id));
    const deserted = known.filter((id) => !found.has(id) && this.#forget(id));
    changed = changed || deserted.length > 0;
    for (const { id } of sure?.values() ?? []) this.#noteStranger(id, nowMs);
    return changed;
  }

  async #readProcesses(cycle: Cycle): Promise<ProcessTable> {
    const pass = await this.#kernel.processes(this.node?.id, cycle);
    this.#reader = pass === undefined ? 'files' : 'pass';
    const table = pass ?? (await readProcessFiles(this.#paths.proc, cycle));
    this.#unreadable = table.unreadable;
    return table;
  }

  /** The namespaces that somebody is in or that have a name, each with what is known of it. */
  #join(
    { namespaces }: ProcessTable,
    mounts: ReadonlyMap<number, string>,
    sure: ReadonlyMap<number, NetnsRow> | undefined,
  ): Place[] {
    const places = new Map<NetnsId, Place>();
    const add = ({ id: known, inum, pids }: NetnsProcesses) => {
      const mount = mounts.get(inum);
      const id = known ?? (sure === undefined ? this.#resolve(inum, pids, mount) : sure.get(inum)?.id);
      if (id === undefined) return;
      // The mount is of the namespace that has the number now.
      const isNow = sure === undefined || sure.get(inum)?.id === id;
      places.set(id, { id, inum, pids, mount: isNow ? mount : undefined });
    };
    for (const processes of namespaces) add(processes);
    const peopled = new Set([...places.values()].flatMap(({ inum, mount }) => (mount === undefined ? [] : [inum])));
    for (const inum of mounts.keys()) if (!peopled.has(inum)) add({ id: undefined, inum, pids: [] });
    return [...places.values()];
  }

  #noteStranger(id: NetnsId, nowMs: number): void {
    if (this.#known.has(id)) this.#strangers.delete(id);
    else if (!this.#strangers.has(id)) this.#strangers.set(id, nowMs);
  }

  /** Without a list from the kernel: the namespace that has this number now. */
  #resolve(inum: number, pids: readonly number[], mount: string | undefined): NetnsId | undefined {
    const known = [...this.#known.values()].find((entry) => entry.inum === inum);
    // A process that was there before holds the namespace; without one the number may be another's by now.
    if (known?.pids.some((pid) => pids.includes(pid))) return known.id;
    const path =
      mount === undefined ? join(this.#paths.proc, String(pids[0]), 'ns/net') : join(this.#paths.netns, mount);
    return this.#kernel.cookie(path) ?? asNetnsId(inum);
  }

  #update(
    entry: NetnsEntry,
    pids: readonly number[],
    mount: string | undefined,
    table: ProcessTable,
    nowMs: number,
  ): boolean {
    const known = this.#known.get(entry.id);
    const isYoung = known === undefined || nowMs - known.bornMs < YOUNG_MS;
    const oldest = known?.pids[0];
    if (known !== undefined && !isYoung && known.mount === mount && oldest !== undefined && pids.includes(oldest)) {
      known.pids = [oldest, ...pids.filter((pid) => pid !== oldest)];
      return false;
    }
    // Its end was told while the scan went on.
    if (this.#dead.get(entry.id)?.isFinal) return false;
    const now = describe(entry, pids, mount, table, this.#ownContainer);
    const described = keepOwner(known?.described, now);
    const [pid] = now.pids;
    const first =
      pid === undefined || now.startSeconds === undefined ? undefined : { pid, startSeconds: now.startSeconds };
    const bornMs = known?.bornMs ?? nowMs;
    this.#retired.delete(entry.id);
    this.#known.set(entry.id, { ...entry, bornMs, pids: described.pids, mount, described, first });
    return known === undefined || !sameName(known.described.entity, described.entity);
  }

  /**
   * Of the namespace that is the node's: process 1's; where we may not see that, the machine's first one; else the one
   * that the agent is in.
   */
  #nodeId(places: readonly Place[], sure: ReadonlyMap<number, NetnsRow> | undefined): NetnsId | undefined {
    const ofPid = (pid: number) => places.find(({ pids }) => pids.includes(pid))?.id;
    const initial = [...(sure?.values() ?? [])].find((row) => row.initial)?.id;
    const hasInitial = places.some(({ id, pids }) => id === initial && pids.length > 0);
    return ofPid(1) ?? (hasInitial ? initial : undefined) ?? ofPid(this.#ownPid());
  }

  /** As our /proc numbers it. */
  #ownPid(): number {
    return Number(readlinkSync(join(this.#paths.proc, 'self')));
  }

  #sweep(live: readonly NetnsRow[] | undefined, nowMs: number): void {
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return;
    this.#sweptMs = nowMs;
    this.#liveBefore = this.#live;
    this.#live = live === undefined ? new Set(this.#known.keys()) : new Set(live.map(({ id }) => id));
    const isDead = (id: NetnsId) => !this.#live.has(id) && !this.#liveBefore.has(id) && !this.#retired.has(id);
    for (const sweep of this.#sweepers) sweep(isDead);
  }
}
