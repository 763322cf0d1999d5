import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { uniqueName } from './hosts.ts';
import { eventually } from './oracle.ts';

/** Mount points on a machine with the hybrid layout, in which v1 hierarchies and v2 exist at the same time. */
export const CGROUP_V1 = '/sys/fs/cgroup/pids';
export const CGROUP_V2 = '/sys/fs/cgroup/unified';

/** Cgroups of a test. Disposing removes them; their processes must have exited before. */
export class TestCgroups implements AsyncDisposable {
  readonly #made: string[] = [];
  readonly path: string;

  /** @param hierarchy mount point of the hierarchy */
  constructor(hierarchy: string, ...segments: readonly string[]) {
    this.path = join(hierarchy, uniqueName('test-'));
    this.#make(this.path);
    this.path = this.below(...segments);
  }

  /** Creates missing cgroups below `path`, and returns the path of the last one. */
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

/** The cgroups of a Pod, as the kubelet creates them with the cgroupfs driver. */
export class TestPod implements AsyncDisposable {
  readonly uid: string;
  readonly #cgroups: TestCgroups;
  /** Path of the first container's cgroup. */
  readonly container: string;

  constructor(hierarchy: string, uid: string = randomUUID()) {
    this.uid = uid;
    this.#cgroups = new TestCgroups(hierarchy, 'kubepods', 'besteffort', `pod${this.uid}`);
    this.container = this.addContainer();
  }

  /** Adds a container, and returns the path of its cgroup. */
  addContainer(): string {
    return this.#cgroups.below(randomBytes(32).toString('hex'));
  }

  /** Creates cgroups below the first container, as software in a container does. */
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

/** Creates Pods, which are disposed together with the stack. @param hierarchy mount point of the hierarchy */
export async function makePods(stack: AsyncDisposableStack, hierarchy: string, count: number): Promise<TestPod[]> {
  return Array.from({ length: count }, () => stack.use(new TestPod(hierarchy)));
}
