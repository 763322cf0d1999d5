/** Directories where the machine's file systems are mounted. */
export interface Paths {
  readonly proc: string;
  readonly sys: string;
  readonly cgroup: string;
  /** Directory in which `ip netns add` and container runtimes mount namespaces. */
  readonly netns: string;
}

export const DEFAULT_PATHS: Paths = {
  proc: '/proc',
  sys: '/sys',
  cgroup: '/sys/fs/cgroup',
  netns: '/run/netns',
};
