import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Unsupported } from '#core/reader.ts';

/**
 * `ALWAYS` is a file that exists in every v2 cgroup. `BELOW_ROOT` exists in every v2 cgroup except the root (kernel:
 * Documentation/admin-guide/cgroup-v2.rst).
 */
const ALWAYS = 'cgroup.controllers';
const BELOW_ROOT = 'cgroup.events';

/**
 * Returns the directory of the root cgroup in the v2 hierarchy. This is the mount point itself or, if v1 hierarchies
 * are mounted there as well, its subdirectory `unified`.
 * @param mount mount point of the machine's cgroups
 * @throws {Unsupported} if the v2 hierarchy is not mounted there, or only part of it is visible
 */
export function rootOfCgroups(mount: string): string {
  const root = [mount, join(mount, 'unified')].find((folder) => existsSync(join(folder, ALWAYS)));
  if (root === undefined) throw new Unsupported(`no cgroups of version 2 are mounted at ${mount}`);
  if (existsSync(join(root, BELOW_ROOT)))
    throw new Unsupported(`${root} is not the root of the machine's cgroups: mount the host's ${mount} there`);
  return root;
}
