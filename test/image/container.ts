import { AgentProcess } from '../support/agent_process.ts';
import { type Container, setpriv } from '../support/security_context.ts';
import type { Stage } from './dockerfile.ts';
import { CONTAINER_FILES, type MountedTree } from './tree.ts';

/**
 * Sets up the host's network and PID namespaces, the mounts and a read-only root, as a container runtime does for the
 * DaemonSet. `AgentProcess` passes the path of this machine's agent before the agent's arguments. The script runs the
 * image's own command instead of this path.
 */
const START = `set -eu
root=$1 config=$2 state=$3 words=$4
shift 4
${CONTAINER_FILES}
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mkdir -p "$root/etc/netsonde" "$root/var/lib/netsonde" "$root/run/netns"
mount --bind "$config" "$root/etc/netsonde"
mount -o remount,bind,ro "$root/etc/netsonde"
mount --bind "$state" "$root/var/lib/netsonde"
mount --rbind /run/netns "$root/run/netns"
mount --make-rslave "$root/run/netns"
mount -o remount,bind,ro "$root/run/netns"
mount -o remount,bind,ro "$root"
count=0
for word; do
  shift
  [ $((count += 1)) = $((words + 1)) ] || set -- "$@" "$word"
done
exec env -i "$@"`;

export interface Folders {
  readonly config: string;
  readonly state: string;
}

/**
 * Starts the image in the same way as the DaemonSet, but with a free loopback port. Resolves when the agent serves
 * requests.
 */
export function startContainer(
  { root }: MountedTree,
  stage: Stage,
  { securityContext, args }: Container,
  user: number,
  { config, state }: Folders,
): Promise<AgentProcess> {
  const image = [
    ...Object.entries(stage.env).map(([name, value]) => `${name}=${value}`),
    ...['NODE_NAME=worker-1', 'POD_NAMESPACE=netsonde', 'chroot', root],
    ...setpriv(securityContext, user, securityContext.capabilities.add),
    ...stage.entrypoint,
  ];
  const wrapper = ['unshare', '--mount', '--propagation', 'unchanged', 'sh', '-c', START, 'sh', root, config, state];
  const flags = args.filter((flag) => flag !== 'serve' && !flag.startsWith('--listen='));
  return AgentProcess.serve(flags, [...wrapper, String(image.length), ...image]);
}
