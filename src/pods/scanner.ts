import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Cycle, freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import { livedBetween, type NetnsRow } from '#sources/bpf/netns_list.ts';
import { missingCapabilities } from '#sources/procfs/capabilities.ts';
import { listDirectory } from '#sources/procfs/read.ts';
import { hidingOf } from './hidden_processes.ts';
import type { HostPodTracker } from './host_pods.ts';
import { readNetnsMounts } from './mounts.ts';
import type { NetnsKernel } from './netns_kernel.ts';
import { nodeNetns, orderOf, type Place } from './place.ts';
import { type NetnsProcesses, type ProcessTable, readProcessFiles } from './process_table.ts';
import type { NetnsRegistry } from './registry.ts';

/** Milliseconds between scans while nothing changes, if the kernel can list namespaces. A scan reads every process. */
const SCAN_EVERY_MS = 30_000;
/** Milliseconds between scans if the kernel cannot list namespaces. Only a scan can then find new ones. */
const SCAN_ALONE_EVERY_MS = 900;

type ScannedHostPods = Pick<HostPodTracker, 'isUnsettled' | 'scanned' | 'look'>;

/**
 * Finds network namespaces and their processes in lists from the kernel or in /proc, and reports them to the registry.
 */
export class Scanner {
  readonly #paths: Paths;
  readonly #kernel: NetnsKernel;
  readonly #registry: NetnsRegistry;
  readonly #hostPods: ScannedHostPods | undefined;
  readonly #mayLookAtAll: boolean;
  /** Reason why /proc does not show all processes; undefined if it does. */
  readonly #hiding: string | undefined;
  #mountNames = '';
  #scannedMs = Number.NEGATIVE_INFINITY;
  #unreadable = 0;
  #reader: 'pass' | 'files' = 'files';
  #refreshing: Promise<void> | undefined;

  /** @param hostPods finds Pods that share the node's namespace; undefined if they are not needed */
  constructor(paths: Paths, kernel: NetnsKernel, registry: NetnsRegistry, hostPods?: ScannedHostPods) {
    this.#paths = paths;
    this.#kernel = kernel;
    this.#registry = registry;
    this.#hostPods = hostPods;
    this.#mayLookAtAll = missingCapabilities(['CAP_SYS_PTRACE'], paths.proc).length === 0;
    this.#hiding = hidingOf(paths.proc);
  }

  /** How the last scan read the processes: with a BPF walk (`pass`), or from files in /proc. */
  get reader(): 'pass' | 'files' {
    return this.#reader;
  }

  /** Number of processes that the last scan could not inspect. */
  get unreadableProcesses(): number {
    return this.#unreadable;
  }

  /**
   * Finds new and dead namespaces. This is cheap if nothing has changed, so it is done every few seconds and before
   * each scrape. Concurrent callers share one refresh.
   * @throws if /proc cannot be read
   */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /**
   * Like {@link refresh}, but does not join a refresh that has already started and may have missed recent changes.
   * @throws if /proc cannot be read
   */
  async refreshAnew(): Promise<void> {
    await this.#refreshing?.catch(() => undefined);
    await this.refresh();
  }

  async #refresh(): Promise<void> {
    const nowMs = performance.now();
    const cycle = freeCycle();
    const before = this.#registry.beforeLook();
    const live = await this.#kernel.list(cycle);
    if (live !== undefined) this.#registry.removeDead(before, live);
    if (this.#scanDue(live, nowMs)) {
      this.#scannedMs = nowMs;
      await this.#scan(live, before, cycle);
    }
    await this.#hostPods?.look(cycle);
    this.#registry.afterLook(live);
  }

  #scanDue(live: readonly NetnsRow[] | undefined, nowMs: number): boolean {
    const sinceMs = nowMs - this.#scannedMs;
    if (live === undefined) return sinceMs >= SCAN_ALONE_EVERY_MS;
    const isUnsettled = this.#registry.needsScan(live) || this.#hostPods?.isUnsettled === true;
    return sinceMs >= SCAN_EVERY_MS || isUnsettled || this.#readMountNames() !== this.#mountNames;
  }

  #readMountNames(): string {
    return listDirectory(this.#paths.netns).join('/');
  }

  async #scan(before: readonly NetnsRow[] | undefined, known: readonly NetnsId[], cycle: Cycle): Promise<void> {
    this.#registry.scanBegins();
    this.#mountNames = this.#readMountNames();
    const mounts = readNetnsMounts(this.#paths.netns);
    const table = await this.#readProcesses(cycle);
    // Inode numbers may be reused during the scan, so only namespaces that were listed both before and after it are
    // used.
    const after = before && (await this.#kernel.list(cycle));
    const sure = before && after ? livedBetween(before, after) : undefined;
    const places = this.#join(table, mounts, sure, orderOf(after));
    const nodeId = nodeNetns(places, sure, () => this.#ownPid());
    for (const place of places) {
      this.#registry.found(place, place.id === nodeId, table);
      await cycle.pause();
    }
    const atNode = places.find(({ id }) => id === nodeId)?.pids ?? [];
    this.#registry.judge(atNode, table);
    await this.#hostPods?.scanned(atNode, table, this.#reader, cycle);
    await this.#registry.findMachines(cycle);
    // A namespace that has neither processes nor mounts counts as dead, even if sockets keep it alive for some time.
    this.#registry.removeMissing(known, new Set(places.map(({ id }) => id)));
    this.#registry.noteUnowned(sure?.values() ?? []);
  }

  async #readProcesses(cycle: Cycle): Promise<ProcessTable> {
    const pass = await this.#kernel.processes(this.#registry.node?.id, cycle);
    this.#reader = pass === undefined ? 'files' : 'pass';
    const table = pass ?? (await readProcessFiles(this.#paths.proc, cycle));
    this.#unreadable = table.unreadable;
    // Unlike /proc, the list from the kernel always contains all processes.
    this.#registry.visibilityGap = (pass === undefined ? this.#hiding : undefined) ?? this.#gap(table.unreadable);
    return table;
  }

  /**
   * Returns a warning if CAP_SYS_PTRACE is missing. Without it, Pods whose processes belong to other users cannot be
   * found in /proc.
   */
  #gap(unreadable: number): string | undefined {
    if (unreadable === 0 || this.#mayLookAtAll) return undefined;
    return `CAP_SYS_PTRACE is missing, so Pods with only processes of other users are not seen (${unreadable} processes)`;
  }

  /** Joins processes and mounts by namespace. */
  #join(
    { namespaces }: ProcessTable,
    mounts: ReadonlyMap<number, readonly string[]>,
    sure: ReadonlyMap<number, NetnsRow> | undefined,
    order: (id: NetnsId) => number | undefined,
  ): Place[] {
    const places = new Map<NetnsId, Place>();
    const add = ({ id: known, inum, pids }: NetnsProcesses) => {
      const names = mounts.get(inum) ?? [];
      const id = known ?? (sure === undefined ? this.#resolve(inum, pids, names[0]) : sure.get(inum)?.id);
      if (id === undefined) return;
      // The mount belongs to the namespace that has this inode number at the moment.
      const isNow = sure === undefined || sure.get(inum)?.id === id;
      places.set(id, { id, inum, pids, mounts: isNow ? names : [], order: order(id) });
    };
    for (const processes of namespaces) add(processes);
    const peopled = new Set(
      [...places.values()].flatMap(({ inum, mounts: names }) => (names.length === 0 ? [] : [inum])),
    );
    for (const inum of mounts.keys()) if (!peopled.has(inum)) add({ id: undefined, inum, pids: [] });
    return [...places.values()];
  }

  /** Identifies a namespace by its inode number. Used if the kernel cannot list namespaces. */
  #resolve(inum: number, pids: readonly number[], mount: string | undefined): NetnsId | undefined {
    const known = this.#registry.heldBy(inum, pids);
    if (known !== undefined) return known;
    const path =
      mount === undefined ? join(this.#paths.proc, String(pids[0]), 'ns/net') : join(this.#paths.netns, mount);
    return this.#kernel.cookie(path) ?? asNetnsId(inum);
  }

  /** Returns the process ID of the agent in its /proc. */
  #ownPid(): number {
    return Number(readlinkSync(join(this.#paths.proc, 'self')));
  }
}
