/** Where the machine's file systems are mounted for us. */
export interface Paths {
  readonly proc: string;
  readonly sys: string;
  readonly cgroup: string;
  /** Where `ip netns add` and container runtimes mount namespaces. */
  readonly netns: string;
}

export const DEFAULT_PATHS: Paths = {
  proc: '/proc',
  sys: '/sys',
  cgroup: '/sys/fs/cgroup',
  netns: '/run/netns',
};
