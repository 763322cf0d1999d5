import { join } from 'node:path';
import { type Cycle, freeCycle } from '../collectors/cycle.ts';
import type { Paths } from '../paths.ts';
import { asNetnsId, type NetnsId } from '../probes/metric.ts';
import type { NetnsRow } from '../sources/bpf/netns_list.ts';
import type { NetnsEntry, NetnsIndex } from '../sources/netns.ts';
import { missingCapabilities } from '../sources/procfs/capabilities.ts';
import { listDirectory } from '../sources/procfs/read.ts';
import { type Described, describe } from './describe.ts';
import type { Entity } from './entity.ts';
import { readNetnsMounts } from './mounts.ts';
import { readContainer, readNetnsInum, scanProcesses } from './processes.ts';

/** How the namespaces of the machine are listed, and told apart. */
export interface NetnsKernel {
  /** Every namespace that is alive, or undefined where the kernel cannot be asked: then only /proc tells. */
  list(cycle: Cycle): Promise<readonly NetnsRow[] | undefined>;
  /** Enters the namespace at a path and asks for its cookie; undefined where that is not possible. */
  cookie(path: string): NetnsId | undefined;
}

/** A scan looks at every process; where the kernel lists the namespaces it is needed only when something is new. */
const SCAN_EVERY_MS = 30_000;
const SCAN_ALONE_EVERY_MS = 900;
/** So long a namespace is new: its owner may still appear, or join it from elsewhere. */
const YOUNG_MS = 10_000;
const SWEEP_EVERY_MS = 5_000;
/** Dead namespaces that are remembered, so that what is left of them is not counted as unknown. */
const DEAD_MAX = 4_096;

interface Known extends NetnsEntry {
  readonly bornMs: number;
  pids: readonly number[];
  mount: string | undefined;
  described: Described;
}

/** Whose a namespace is, and processes that were in it at the last scan. */
export interface NetnsOwner {
  readonly entity: Entity;
  readonly pids: readonly number[];
}

export type EntitiesListener = (entities: readonly Entity[]) => void;

/** Which network namespaces there are, and whose each is. */
export class Discovery implements NetnsIndex {
  readonly #paths: Paths;
  readonly #kernel: NetnsKernel;
  readonly #changed: EntitiesListener;
  readonly #known = new Map<NetnsId, Known>();
  /** Namespaces without a process that we see and without a mount: another node's, on a machine that plays several. */
  readonly #strangers = new Map<NetnsId, number>();
  readonly #dead = new Map<NetnsId, Entity>();
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

  /** Whether it is known to be nobody's: dead, or a stranger. */
  isIgnored(id: NetnsId): boolean {
    return this.#dead.has(id) || this.#strangers.has(id);
  }

  /** Whose a dead namespace was. */
  lastKnown(id: NetnsId): Entity | undefined {
    return this.#dead.get(id);
  }

  onSweep(sweep: (isDead: (id: NetnsId) => boolean) => void): Disposable {
    this.#sweepers.add(sweep);
    return { [Symbol.dispose]: () => void this.#sweepers.delete(sweep) };
  }

  locate(entry: NetnsEntry): string | undefined {
    const known = this.#known.get(entry.id);
    for (const pid of known?.pids ?? []) {
      const directory = join(this.#paths.proc, String(pid));
      // The process may have gone, and its number to another.
      if (readNetnsInum(directory) === entry.inum) return directory;
      this.#scanRequested = true;
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
    const nowMs = performance.now();
    const cycle = freeCycle();
    const live = await this.#kernel.list(cycle);
    let changed = live !== undefined && this.#removeDead(new Set(live.map(({ id }) => id)));
    if (this.#scanDue(live, nowMs)) {
      this.#scanRequested = false;
      this.#scannedMs = nowMs;
      changed = (await this.#scan(live, nowMs, cycle)) || changed;
    }
    if (changed) this.#changed([...this.#known.values()].map(({ described }) => described.entity));
    this.#sweep(live, nowMs);
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

  #removeDead(live: ReadonlySet<NetnsId>): boolean {
    const dead = [...this.#known.keys()].filter((id) => !live.has(id));
    for (const id of dead) this.#forget(id);
    for (const id of this.#strangers.keys()) if (!live.has(id)) this.#strangers.delete(id);
    return dead.length > 0;
  }

  #forget(id: NetnsId): void {
    const known = this.#known.get(id);
    if (known === undefined) return;
    this.#known.delete(id);
    this.#dead.set(id, known.described.entity);
    if (this.#dead.size <= DEAD_MAX) return;
    const [oldest] = this.#dead.keys();
    if (oldest !== undefined) this.#dead.delete(oldest);
  }

  /** Returns whether any entity is new, gone or named otherwise. */
  async #scan(before: readonly NetnsRow[] | undefined, nowMs: number, cycle: Cycle): Promise<boolean> {
    this.#mountNames = listDirectory(this.#paths.netns).join('/');
    const mounts = readNetnsMounts(this.#paths.netns);
    const { byInum, unreadable } = await scanProcesses(this.#paths.proc, cycle);
    this.#unreadable = unreadable;
    // A number may have passed to another namespace during the scan; one that lived before and after is sure.
    const after = before && (await this.#kernel.list(cycle));
    const sure = before && after ? sameIn(before, after) : undefined;
    const nodeInum = this.#nodeInum(sure, byInum);

    const found = new Set<NetnsId>();
    let changed = false;
    for (const inum of new Set([...byInum.keys(), ...mounts.keys()])) {
      const pids = byInum.get(inum) ?? [];
      const mount = mounts.get(inum);
      const id = sure === undefined ? this.#resolve(inum, pids, mount) : sure.get(inum)?.id;
      if (id === undefined) continue;
      found.add(id);
      changed = this.#update({ id, inum, isNode: inum === nodeInum }, pids, mount, nowMs) || changed;
      await cycle.pause();
    }
    // Its last sockets may keep a namespace alive for a while, but nobody is left in it.
    const deserted = [...this.#known.keys()].filter((id) => !found.has(id));
    for (const id of deserted) this.#forget(id);
    changed = changed || deserted.length > 0;
    for (const { id } of sure?.values() ?? []) this.#noteStranger(id, nowMs);
    return changed;
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

  #update(entry: NetnsEntry, pids: readonly number[], mount: string | undefined, nowMs: number): boolean {
    const known = this.#known.get(entry.id);
    const isYoung = known === undefined || nowMs - known.bornMs < YOUNG_MS;
    const oldest = known?.pids[0];
    if (known !== undefined && !isYoung && known.mount === mount && oldest !== undefined && pids.includes(oldest)) {
      known.pids = [oldest, ...pids.filter((pid) => pid !== oldest)];
      return false;
    }
    const described = describe(entry, pids, mount, this.#paths.proc, this.#ownContainer);
    const bornMs = known?.bornMs ?? nowMs;
    this.#known.set(entry.id, { ...entry, bornMs, pids: described.pids, mount, described });
    return known === undefined || !sameName(known.described.entity, described.entity);
  }

  /**
   * Of the namespace that is the node's: process 1's; where we may not see that, the machine's first one; else the one
   * that the agent is in.
   */
  #nodeInum(
    sure: ReadonlyMap<number, NetnsRow> | undefined,
    byInum: ReadonlyMap<number, readonly number[]>,
  ): number | undefined {
    const inumOf = (pid: string) => {
      const inum = readNetnsInum(join(this.#paths.proc, pid));
      return inum === 'unreadable' ? undefined : inum;
    };
    const initial = [...(sure?.values() ?? [])].find((row) => row.initial && byInum.has(row.inum))?.inum;
    return inumOf('1') ?? initial ?? inumOf('self');
  }

  #sweep(live: readonly NetnsRow[] | undefined, nowMs: number): void {
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return;
    this.#sweptMs = nowMs;
    this.#liveBefore = this.#live;
    this.#live = live === undefined ? new Set(this.#known.keys()) : new Set(live.map(({ id }) => id));
    const isDead = (id: NetnsId) => !this.#live.has(id) && !this.#liveBefore.has(id);
    for (const sweep of this.#sweepers) sweep(isDead);
  }
}

function sameIn(before: readonly NetnsRow[], after: readonly NetnsRow[]): Map<number, NetnsRow> {
  const ids = new Set(before.map(({ id }) => id));
  return new Map(after.filter(({ id }) => ids.has(id)).map((row) => [row.inum, row]));
}

function sameName(a: Entity, b: Entity): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.pod === b.pod && a.uid === b.uid;
}
