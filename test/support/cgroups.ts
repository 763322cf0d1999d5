import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { uniqueName } from './hosts.ts';
import { eventually } from './oracle.ts';

/** Both layouts exist on a machine with the hybrid one: v1 hierarchies, and v2 beside them. */
export const CGROUP_V1 = '/sys/fs/cgroup/pids';
export const CGROUP_V2 = '/sys/fs/cgroup/unified';

/** Cgroups that a test has made, gone when disposed; the processes in them must have been ended. */
export class TestCgroups implements AsyncDisposable {
  readonly #made: string[] = [];
  readonly path: string;

  /** @param hierarchy its mount point */
  constructor(hierarchy: string, ...segments: readonly string[]) {
    this.path = join(hierarchy, uniqueName('test-'));
    this.#make(this.path);
    this.path = this.below(...segments);
  }

  /** Makes cgroups below `path`, unless they exist; returns the last one. */
  below(...segments: readonly string[]): string {
    let { path } = this;
    for (const segment of segments) {
      path = join(path, segment);
      this.#make(path);
    }
    return path;
  }

  add(pid: number, path = this.path): void {
    writeFileSync(join(path, 'cgroup.procs'), String(pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const path of this.#made.splice(0).reverse()) await eventually(() => rmdirSync(path));
  }

  #make(path: string): void {
    if (this.#made.includes(path)) return;
    mkdirSync(path);
    this.#made.push(path);
  }
}

/** The cgroups of a Pod as the kubelet makes them with the cgroupfs driver. */
export class TestPod implements AsyncDisposable {
  readonly uid: string;
  readonly #cgroups: TestCgroups;
  /** The cgroup of its first container. */
  readonly container: string;

  constructor(hierarchy: string, uid: string = randomUUID()) {
    this.uid = uid;
    this.#cgroups = new TestCgroups(hierarchy, 'kubepods', 'besteffort', `pod${this.uid}`);
    this.container = this.addContainer();
  }

  /** Makes one more container; returns its cgroup. */
  addContainer(): string {
    return this.#cgroups.below(randomBytes(32).toString('hex'));
  }

  /** Makes cgroups below the first container, as a container that manages its own cgroups does. */
  inner(...names: readonly string[]): string {
    return this.#cgroups.below(this.container.slice(this.#cgroups.path.length + 1), ...names);
  }

  add(pid: number, cgroup = this.container): void {
    this.#cgroups.add(pid, cgroup);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#cgroups[Symbol.asyncDispose]();
  }
}

/** Makes Pods that are disposed with a stack. @param hierarchy where it is mounted */
export async function makePods(stack: AsyncDisposableStack, hierarchy: string, count: number): Promise<TestPod[]> {
  return Array.from({ length: count }, () => stack.use(new TestPod(hierarchy)));
}
