import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Counter } from '#core/counter.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, isHostPodId, type NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import { parseCgroup } from '#pods/cgroup.ts';
import type { Entity } from '#pods/entity.ts';
import { HostPodTracker } from '#pods/host_pods.ts';
import { NetnsRegistry } from '#pods/registry.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import { SourceErrors } from '#sources/errors.ts';

export const UID = '0f0f0f0f-1111-2222-3333-444455556666';
export const OTHER = '9f9f9f9f-1111-2222-3333-444455556666';
export const ID = 'ab'.repeat(32);
export const INNER = 'cd'.repeat(32);
export const NODE = asNetnsId(1);
export const A = asNetnsId(2);
export const SECOND_MS = 1_000;
/** Path of the cgroup of the Pod `UID`. */
export const POD = `/kubepods/burstable/pod${UID}`;

/** A simulated machine with Pods that use the node's network namespace, and a clock that the test controls. */
export class HostPodsScene implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'host-pods-'));
  readonly #mount: string | undefined;
  readonly paths: Paths = {
    ...DEFAULT_PATHS,
    proc: join(this.#folder, 'proc'),
    cgroup: join(this.#folder, 'cgroup'),
    netns: join(this.#folder, 'netns'),
  };
  readonly errors = new SourceErrors();
  /** Whether a Pod uses the node's network according to Kubernetes, by UID. */
  readonly hostNetwork = new Map<string, boolean>();
  /** Contents of /proc/<pid>/cgroup, by PID. */
  readonly processes = new Map<number, string>();
  readonly registry: NetnsRegistry;
  readonly hostPods: HostPodTracker;
  nowMs = 1_000_000;
  /** The entities that the registry has reported last. */
  shown: readonly Entity[] = [];
  readonly #table = {
    info: (pid: number) => {
      const text = this.processes.get(pid);
      return text === undefined
        ? undefined
        : { pid, comm: 'app', startSeconds: pid, container: () => parseCgroup(text) };
    },
  };

  /** @param mount mount point of cgroup v2, relative to the cgroup directory; undefined if it is not mounted */
  constructor(mount: string | undefined) {
    this.#mount = mount;
    const { proc, cgroup } = this.paths;
    mkdirSync(join(proc, '1'), { recursive: true });
    symlinkSync('1', join(proc, 'self'));
    writeFileSync(join(proc, '1/cgroup'), '0::/init.scope\n');
    mkdirSync(cgroup);
    if (mount !== undefined) this.makeCgroup('/');
    this.registry = new NetnsRegistry(
      this.paths,
      (entities) => {
        this.shown = entities;
      },
      (uid) => this.hostNetwork.get(uid),
      () => this.nowMs,
    );
    this.hostPods = new HostPodTracker(this.paths, this.registry, this.errors, () => this.nowMs);
  }

  /** Creates a cgroup and its parents. Returns the ID of the cgroup. */
  makeCgroup(path: string, mount = this.#mount ?? ''): Counter {
    let at = join(this.paths.cgroup, mount);
    for (const name of ['', ...path.split('/').filter((segment) => segment !== '')]) {
      at = join(at, name);
      if (existsSync(join(at, 'cgroup.procs'))) continue;
      mkdirSync(at, { recursive: true });
      writeFileSync(join(at, 'cgroup.procs'), '');
    }
    return statSync(at).ino;
  }

  removeCgroup(path: string, mount = this.#mount ?? ''): void {
    rmSync(join(this.paths.cgroup, mount, path), { recursive: true });
  }

  start(pid: number, cgroups: string): void {
    this.processes.set(pid, cgroups);
    mkdirSync(join(this.paths.proc, String(pid)), { recursive: true });
    writeFileSync(join(this.paths.proc, String(pid), 'cgroup'), cgroups);
  }

  /**
   * Simulates a scan.
   * @param others processes in namespaces other than the node's
   */
  async scan(others: ReadonlyMap<NetnsId, readonly number[]> = new Map(), reader: 'pass' | 'files' = 'pass') {
    const { registry, hostPods } = this;
    const elsewhere = new Set([...others.values()].flat());
    const atNode = [1, ...[...this.processes.keys()].filter((pid) => !elsewhere.has(pid))];
    const places: readonly [NetnsId, readonly number[]][] = [[NODE, atNode], ...others];
    registry.beforeLook();
    registry.scanBegins();
    for (const [id, pids] of places)
      registry.found({ id, inum: Number(id) * 10, pids, mounts: [], order: Number(id) }, id === NODE, this.#table);
    registry.judge(atNode, this.#table);
    await hostPods.scanned(atNode, this.#table, reader, freeCycle());
    await this.look(places.map(([id]) => ({ id, inum: Number(id) * 10, initial: id === NODE })));
  }

  async look(rows: readonly NetnsRow[] = [{ id: NODE, inum: 10, initial: true }]): Promise<void> {
    await this.hostPods.look(freeCycle());
    this.registry.afterLook(rows);
  }

  /**
   * Simulates two scans. Without information from Kubernetes, the first scan is not enough, because a new Pod may not
   * have entered its own namespace yet.
   */
  async scanTwice(): Promise<void> {
    await this.scan();
    this.nowMs += SECOND_MS;
    await this.scan();
  }

  /** The Pods that are listed for the node's namespace. */
  get listed(): string[] {
    return this.shown
      .filter(({ netns }) => isHostPodId(netns))
      .map(({ pod, isRetired }) => (isRetired === true ? `${pod} retired` : pod));
  }

  /** Returns the UID of the Pod that owns the sockets of a cgroup; undefined if they count as the node's. */
  async ownerOf(cgroup: Counter): Promise<string | undefined> {
    await this.hostPods.find([cgroup]);
    const subject = this.hostPods.subjectOf(cgroup);
    return this.shown.find(({ netns }) => netns === subject)?.uid;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}
