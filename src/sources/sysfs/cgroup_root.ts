import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Unsupported } from '#core/reader.ts';

/** Files that each cgroup of version 2 has, and those that the root has not (kernel: Documentation/admin-guide/cgroup-v2.rst). */
const ALWAYS = 'cgroup.controllers';
const BELOW_ROOT = 'cgroup.events';

/**
 * Returns the folder of the root cgroup of version 2: the mount itself, or `unified` in it beside hierarchies of version 1.
 * @param mount where the machine's cgroups are mounted
 * @throws {Unsupported} where the machine has none there, or shows only a part of them
 */
export function rootOfCgroups(mount: string): string {
  const root = [mount, join(mount, 'unified')].find((folder) => existsSync(join(folder, ALWAYS)));
  if (root === undefined) throw new Unsupported(`no cgroups of version 2 are mounted at ${mount}`);
  if (existsSync(join(root, BELOW_ROOT)))
    throw new Unsupported(`${root} is not the root of the machine's cgroups: mount the host's ${mount} there`);
  return root;
}
