import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Unsupported } from '#core/reader.ts';

/**
 * `ALWAYS` is a file that every cgroup of version 2 has. `BELOW_ROOT` is a file that every cgroup except the root has
 * (kernel: Documentation/admin-guide/cgroup-v2.rst).
 */
const ALWAYS = 'cgroup.controllers';
const BELOW_ROOT = 'cgroup.events';

/**
 * Returns the directory of the root cgroup of version 2. This is the mount point itself, or the directory `unified` in
 * it if hierarchies of version 1 are mounted there as well.
 * @param mount mount point of the machine's cgroups
 * @throws {Unsupported} if no cgroups of version 2 are mounted there, or only a part of them is visible
 */
export function rootOfCgroups(mount: string): string {
  const root = [mount, join(mount, 'unified')].find((folder) => existsSync(join(folder, ALWAYS)));
  if (root === undefined) throw new Unsupported(`no cgroups of version 2 are mounted at ${mount}`);
  if (existsSync(join(root, BELOW_ROOT)))
    throw new Unsupported(`${root} is not the root of the machine's cgroups: mount the host's ${mount} there`);
  return root;
}
