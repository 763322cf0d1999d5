import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { uniqueName } from './hosts.ts';
import { eventually } from './oracle.ts';

interface Layout {
  readonly root: string;
  readonly usage: string;
  /** Field of memory.stat with the size of the inactive file pages, which the kubelet subtracts from the usage. */
  readonly inactive: string;
}

const LAYOUTS: readonly Layout[] = [
  { root: '/sys/fs/cgroup/memory', usage: 'memory.usage_in_bytes', inactive: 'total_inactive_file' },
  { root: '/sys/fs/cgroup', usage: 'memory.current', inactive: 'inactive_file' },
];

/**
 * A cgroup with the memory controller for one process. Disposing removes the cgroup; the process must have exited
 * before.
 */
export class MemoryGroup implements AsyncDisposable {
  readonly #path: string | undefined;
  readonly #layout: Layout | undefined;

  private constructor(path?: string, layout?: Layout) {
    this.#path = path;
    this.#layout = layout;
  }

  /**
   * Creates a cgroup if this machine permits it and has the memory controller. Otherwise, the group measures nothing.
   */
  static make(): MemoryGroup {
    for (const layout of LAYOUTS) {
      const path = join(layout.root, uniqueName('bench-'));
      try {
        mkdirSync(path);
      } catch {
        continue;
      }
      if (existsSync(join(path, layout.usage))) return new MemoryGroup(path, layout);
      rmdirSync(path);
    }
    return new MemoryGroup();
  }

  /** Command prefix that runs the following command in the group. */
  get wrapper(): readonly string[] {
    return this.#path === undefined ? [] : ['/bin/sh', '-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', this.#path];
  }

  get workingSetBytes(): number | undefined {
    if (this.#path === undefined || this.#layout === undefined) return undefined;
    const stat = readFileSync(join(this.#path, 'memory.stat'), 'utf8');
    const inactive = new RegExp(`^${this.#layout.inactive} (\\d+)$`, 'm').exec(stat)?.[1];
    return Number(readFileSync(join(this.#path, this.#layout.usage), 'utf8')) - Number(inactive);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const path = this.#path;
    if (path !== undefined) await eventually(() => rmdirSync(path));
  }
}
