import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { uniqueName } from '../../test/support/hosts.ts';
import { eventually } from '../../test/support/oracle.ts';

interface Layout {
  readonly root: string;
  readonly usage: string;
  /** Field of memory.stat: file pages not used lately, which the kubelet subtracts. */
  readonly inactive: string;
}

const LAYOUTS: readonly Layout[] = [
  { root: '/sys/fs/cgroup/memory', usage: 'memory.usage_in_bytes', inactive: 'total_inactive_file' },
  { root: '/sys/fs/cgroup', usage: 'memory.current', inactive: 'inactive_file' },
];

/** A cgroup of the memory controller for one process; gone when disposed, after the process has ended. */
export class MemoryGroup implements AsyncDisposable {
  readonly #path: string | undefined;
  readonly #layout: Layout | undefined;

  private constructor(path?: string, layout?: Layout) {
    this.#path = path;
    this.#layout = layout;
  }

  /** Makes a cgroup where this machine permits it and has the controller there; otherwise measures nothing. */
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

  /** Command in front of another one, which then runs in the group. */
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
