import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/oracle.ts';

/** Returns the mount point of cgroup v2, which some machines have in addition to v1. @throws if there is none */
export function cgroupRoot(): string {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const found = mounts.map((line) => line.split(' ')).find((fields) => fields[fields.indexOf('-') + 1] === 'cgroup2');
  if (found?.[4] === undefined) throw new Error('cgroup v2 is not mounted on this machine');
  return found[4];
}

/** A cgroup in the v2 hierarchy, and all cgroups below it. */
export class Cgroup {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true });
  }

  below(...names: readonly string[]): Cgroup {
    return new Cgroup(join(this.path, ...names));
  }

  /** Freezes or thaws all processes in the cgroup. */
  freeze(isFrozen: boolean): void {
    writeFileSync(join(this.path, 'cgroup.freeze'), isFrozen ? '1' : '0');
  }

  /**
   * Kills all processes in the cgroup and below it (since Linux 5.14). The processes may continue to exist for a
   * moment.
   */
  kill(): void {
    writeFileSync(join(this.path, 'cgroup.kill'), '1');
  }

  /** Kills all processes in the cgroup, and removes the cgroup. */
  remove(): Promise<void> {
    return removeCgroup(this.path);
  }
}

/** Kills all processes in a cgroup and below it, and removes the cgroup. */
export async function removeCgroup(path: string): Promise<void> {
  if (!existsSync(path)) return;
  writeFileSync(join(path, 'cgroup.kill'), '1');
  // A killed process may stay in its cgroup for a moment.
  await eventually(() => removeTree(path), 20_000);
}

function removeTree(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(path, entry.name));
  rmdirSync(path);
}
