import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { addCounters, type Counter } from '#core/counter.ts';
import { type Cycle, freeCycle } from '#core/cycle.ts';
import { hostPodId, type NetnsId } from '#core/netns.ts';
import type { Paths } from '#core/paths.ts';
import { RecentSet } from '#core/recent_set.ts';
import type { HostPods } from '#probe/host_pods.ts';
import type { SourceErrors } from '#sources/errors.ts';
import { readText } from '#sources/procfs/read.ts';
import { type ContainerRef, cgroupsOf } from './cgroup.ts';
import { CGROUPS_EACH_MAX, cgroupsBelow, findCgroups } from './cgroup_ids.ts';
import { CgroupTree } from './cgroup_tree.ts';
import type { Entity } from './entity.ts';
import type { PodName } from './facts.ts';
import { NodeRefs } from './node_refs.ts';
import type { ProcessTable } from './process_table.ts';
import type { NetnsRegistry } from './registry.ts';
import { SharedRoom } from './shared_room.ts';

/** Maximum number of Pods. The kubelet runs at most 110 by default. */
const PODS_MAX = 512;
/** Maximum number of Pod cgroups to remember. */
const CGROUPS_MAX = 16_384;
/** Milliseconds after which cgroups are forgotten: unused cgroups of the node, and cgroups of ended Pods. */
const KEPT_MS = 600_000;
/**
 * Milliseconds for which a Pod must have processes in the node's namespace before it counts as sharing it. The first
 * process of every Pod starts there, and then enters the Pod's namespace.
 */
const PASSING_MS = 1_000;
/** Milliseconds within which the first process of a Pod is expected after Kubernetes has reported the Pod. */
const YOUNG_MS = 10_000;

interface HostPod {
  readonly uid: string;
  readonly ref: ContainerRef;
  readonly entity: Entity;
  /** Directory of the Pod's cgroup in one of the hierarchies; undefined if none was found. */
  readonly folder: string | undefined;
  /** Directory of the Pod's cgroup in cgroup v2, the hierarchy of the cgroups that sockets refer to. */
  unified: string | undefined;
  /** Whether the Pod has more cgroups than the limit. */
  isCut: boolean;
}

interface Seen {
  readonly pid: number;
  readonly ref: ContainerRef;
  readonly isSure: boolean;
}

type Registry = Pick<NetnsRegistry, 'node' | 'hostPod' | 'setHostPods' | 'retired'>;

/**
 * Finds the Pods that share the node's namespace, based on the cgroups of processes and sockets in that namespace. A
 * Pod is listed until its cgroup is removed.
 */
export class HostPodTracker implements HostPods {
  readonly #paths: Paths;
  readonly #registry: Registry;
  readonly #errors: SourceErrors;
  readonly #tree: CgroupTree;
  readonly #now: () => number;
  readonly #refs = new NodeRefs();
  readonly #pods = new Map<string, HostPod>();
  /**
   * Time at which each Pod was first seen in the node's namespace. Contains only Pods that may still enter their own
   * namespace.
   */
  readonly #passing = new Map<string, number>();
  /** Ended Pods whose cgroups are still remembered. */
  readonly #ended = new Map<string, { readonly subject: NetnsId; readonly atMs: number }>();
  readonly #subjects = new SharedRoom<NetnsId, Counter>(CGROUPS_MAX);
  /** Cgroups for which no Pod was found. Their sockets count as the node's. */
  readonly #ofNode: RecentSet<Counter>;
  #wanted = new Set<Counter>();
  #next: Promise<void> | undefined;
  #searching: Promise<void> = Promise.resolve();
  /** When Kubernetes last reported a Pod with hostNetwork that the agent had not seen yet. */
  #reportedMs = Number.NEGATIVE_INFINITY;
  #count = 0;
  #refused = 0;
  #missed: Counter = 0;

  /** @param now returns milliseconds of a monotonic clock */
  constructor(paths: Paths, registry: Registry, errors: SourceErrors, now = () => performance.now()) {
    this.#paths = paths;
    this.#registry = registry;
    this.#errors = errors;
    this.#tree = new CgroupTree(paths.cgroup, errors.malformed('cgroup', 'cgroup.procs'));
    this.#now = now;
    this.#ofNode = new RecentSet(KEPT_MS, CGROUPS_MAX / 2, now);
  }

  get missed(): Counter {
    return this.#missed;
  }

  get degraded(): string[] {
    const pods = [...this.#pods.values()];
    const without = pods.filter(({ unified }) => unified === undefined).length;
    const cut = pods.filter(({ isCut }) => isCut);
    return [
      ...(without > 0 ? [this.#withoutCgroup(without, pods.length)] : []),
      ...cut.map(
        ({ entity }) =>
          `the Pod ${entity.pod} has more than ${CGROUPS_EACH_MAX} cgroups, so the sockets of some count as the node's`,
      ),
      ...(this.#refused > 0
        ? [`more than ${PODS_MAX} Pods share the node's namespace, so the sockets of some count as the node's`]
        : []),
    ];
  }

  #withoutCgroup(count: number, all: number): string {
    return `the sockets of ${count} of ${all} Pods that share the node's namespace count as the node's, because these Pods have no cgroup v2 directory below ${this.#paths.cgroup}`;
  }

  /**
   * Whether the next refresh has to scan all processes. This is the case if a Pod may still enter its own namespace, or
   * if Kubernetes has just reported a new Pod.
   */
  get isUnsettled(): boolean {
    return this.#passing.size > 0 || this.#now() - this.#reportedMs < YOUNG_MS;
  }

  /**
   * Receives the processes in the node's namespace. Must be called during each scan, after the registry has determined
   * the owners of the namespaces.
   * @param table processes that `reader` has read
   */
  async scanned(
    pids: readonly number[],
    table: Pick<ProcessTable, 'info'>,
    reader: 'pass' | 'files',
    cycle: Cycle,
  ): Promise<void> {
    const seen = await this.#see(pids, table, reader, cycle);
    const known = [...this.#pods.values()];
    for (const uid of this.#passing.keys()) if (!seen.has(uid)) this.#passing.delete(uid);
    this.#refused = 0;
    let hasChanged = false;
    for (const [uid, one] of seen) {
      if (this.#pods.has(uid) || !this.#isSettled(uid, one)) continue;
      if (await this.#found(uid, one, cycle)) hasChanged = true;
    }
    const ended = known.filter(({ uid, folder }) => !seen.has(uid) && !isThere(folder));
    if (this.#withdraw() || hasChanged || ended.length > 0) this.#tell(ended);
  }

  /** Reads the cgroups of the known Pods. Must be called during each refresh of the scanner. */
  async look(cycle: Cycle): Promise<void> {
    const ended: HostPod[] = [];
    for (const pod of this.#pods.values()) {
      const { uid, entity, folder, unified } = pod;
      // The end of a Pod without a known cgroup can only be detected by a scan that finds no more of its processes.
      if (folder !== undefined && !isThere(folder)) ended.push(pod);
      const cgroups = unified === undefined ? undefined : await this.#read(() => cgroupsBelow(unified, cycle));
      pod.isCut = cgroups?.isCut ?? false;
      for (const id of cgroups?.ids ?? []) if (!this.#isKnown(id)) this.#subjects.set(id, uid, entity.netns);
    }
    if (ended.length > 0) this.#tell(ended);
    this.#forget();
  }

  /** Applies reports from Kubernetes. @param pods new and changed Pods */
  judgeAgain(pods: readonly Pick<PodName, 'uid' | 'hostNetwork'>[]): void {
    if (pods.some(({ uid, hostNetwork }) => hostNetwork && !this.#pods.has(uid))) this.#reportedMs = this.#now();
    if (this.#withdraw()) this.#tell([]);
  }

  find(cgroups: Iterable<Counter>): Promise<void> {
    let isKnown = true;
    for (const id of cgroups) {
      if (this.#isKnown(id)) continue;
      isKnown = false;
      if (this.#wanted.size < CGROUPS_MAX) this.#wanted.add(id);
    }
    if (isKnown) return Promise.resolve();
    this.#next ??= this.#searching.then(() => {
      this.#next = undefined;
      // The previous search may have found some of these cgroups.
      const wanted = new Set([...this.#wanted].filter((id) => !this.#isKnown(id)));
      this.#wanted = new Set();
      const search = this.#search(wanted, freeCycle());
      this.#searching = search.catch(() => undefined);
      return search;
    });
    return this.#next;
  }

  subjectOf(cgroup: Counter): NetnsId | undefined {
    return this.#subjects.get(cgroup);
  }

  #isKnown(cgroup: Counter): boolean {
    return cgroup === 0 || this.#subjects.has(cgroup) || this.#ofNode.has(cgroup);
  }

  async #see(
    pids: readonly number[],
    table: Pick<ProcessTable, 'info'>,
    reader: 'pass' | 'files',
    cycle: Cycle,
  ): Promise<Map<string, Seen>> {
    const seen = new Map<string, Seen>();
    this.#refs.begin(pids, reader, this.#now());
    for (const pid of pids) {
      const ref = this.#refs.of(pid, table);
      const pod = ref && this.#registry.hostPod(ref);
      if (ref !== undefined && pod !== undefined && !seen.has(pod.uid))
        seen.set(pod.uid, { pid, ref, isSure: pod.isSure });
      await cycle.pause();
    }
    return seen;
  }

  #isSettled(uid: string, { isSure }: Seen): boolean {
    const nowMs = this.#now();
    const sinceMs = this.#passing.get(uid) ?? nowMs;
    const isSettled = isSure || nowMs - sinceMs >= PASSING_MS;
    if (isSettled) this.#passing.delete(uid);
    else this.#passing.set(uid, sinceMs);
    return isSettled;
  }

  async #found(uid: string, { pid, ref }: Seen, cycle: Cycle): Promise<boolean> {
    const paths = cgroupsOf(readText(join(this.#paths.proc, String(pid), 'cgroup')) ?? '', uid);
    const inUnified = paths.filter(({ hierarchy }) => hierarchy === '');
    const unified = await this.#read(() => this.#tree.find(inUnified, cycle));
    const folder = unified ?? (await this.#read(() => this.#tree.find(paths, cycle)));
    return this.#add(uid, ref, folder, unified) !== undefined;
  }

  #add(uid: string, ref: ContainerRef, folder: string | undefined, unified: string | undefined): HostPod | undefined {
    const known = this.#pods.get(uid);
    const { node } = this.#registry;
    if (known !== undefined) known.unified ??= unified;
    if (known !== undefined || node === undefined) return known;
    if (this.#pods.size >= PODS_MAX) {
      this.#refused++;
      return undefined;
    }
    const entity: Entity = {
      kind: 'pod',
      netns: hostPodId(++this.#count),
      sharedNetns: node.id,
      inum: node.inum,
      namespace: '',
      pod: uid,
      uid,
      labels: {},
    };
    const pod = { uid, ref, entity, folder, unified, isCut: false };
    this.#pods.set(uid, pod);
    this.#ended.delete(uid);
    return pod;
  }

  /** Removes Pods that have turned out to have their own namespace. Returns whether there were any. */
  #withdraw(): boolean {
    const wrong = [...this.#pods.values()].filter(({ ref }) => this.#registry.hostPod(ref) === undefined);
    for (const { uid } of wrong) {
      this.#pods.delete(uid);
      this.#subjects.deleteOwner(uid);
    }
    return wrong.length > 0;
  }

  #tell(ended: readonly HostPod[]): void {
    for (const { uid, entity } of ended) {
      this.#pods.delete(uid);
      this.#ended.set(uid, { subject: entity.netns, atMs: this.#now() });
    }
    this.#registry.setHostPods(
      [...this.#pods.values()].map(({ entity }) => entity),
      ended.map(({ entity }) => entity),
    );
  }

  /** Returns the result of `read`. If the file system cannot be read, counts the error and returns undefined. */
  async #read<T>(read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.#errors.count('cgroup', 'cgroup.procs', error);
      return undefined;
    }
  }

  #forget(): void {
    for (const [uid, { subject, atMs }] of this.#ended) {
      if (this.#now() - atMs < KEPT_MS || this.#registry.retired.has(subject)) continue;
      this.#ended.delete(uid);
      this.#subjects.deleteOwner(uid);
    }
  }

  async #search(wanted: ReadonlySet<Counter>, cycle: Cycle): Promise<void> {
    if (wanted.size === 0) return;
    const mount = this.#tree.unified;
    const found = mount === undefined ? undefined : await this.#read(() => findCgroups(mount, wanted, cycle));
    const before = this.#pods.size;
    for (const id of wanted) {
      const place = found?.get(id);
      if (place === undefined) this.#missed = addCounters(this.#missed, 1);
      const { ref, podFolder } = place ?? {};
      const uid = ref && this.#registry.hostPod(ref)?.uid;
      const pod = ref && uid ? this.#add(uid, ref, podFolder, podFolder) : undefined;
      if (pod === undefined) this.#ofNode.add(id);
      else this.#subjects.set(id, pod.uid, pod.entity.netns);
    }
    if (this.#pods.size > before) this.#tell([]);
  }
}

function isThere(folder: string | undefined): boolean {
  return folder !== undefined && existsSync(join(folder, 'cgroup.procs'));
}
