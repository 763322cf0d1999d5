import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { TestNetns } from './hosts.ts';

export interface PodProcess extends AsyncDisposable {
  readonly pid: number;
}

/**
 * Starts a process in a cgroup and a network namespace. Like the first process of a container, it joins both before it
 * calls execve(). Without a namespace, the process stays in the namespace of the test. With `new`, it gets a new
 * namespace that is not mounted anywhere.
 */
export async function startIn(
  cgroup: string,
  netns?: TestNetns | 'new',
  command = ['sleep', '1000'],
): Promise<PodProcess> {
  const enter = netns === 'new' ? ['unshare', '--net'] : netns === undefined ? [] : ['nsenter', `--net=${netns.path}`];
  const script = 'echo $$ > "$0" && echo && exec "$@"';
  return started(spawn('sh', ['-c', script, join(cgroup, 'cgroup.procs'), ...enter, ...command], { stdio: IO }));
}

/** Starts a process outside the cgroups of all Pods. */
export async function startOutside(
  netns: TestNetns,
  command: string,
  args: readonly string[] = [],
): Promise<PodProcess> {
  const script = 'echo && exec "$@"';
  return started(spawn('sh', ['-c', script, 'sh', 'nsenter', `--net=${netns.path}`, command, ...args], { stdio: IO }));
}

const IO: StdioOptions = ['ignore', 'pipe', 'inherit'];

async function started(child: ChildProcess): Promise<PodProcess> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const ready = new Promise<boolean>((resolve) => child.stdout?.once('data', () => resolve(true)));
  if ((await Promise.race([ready, gone])) !== true) throw new Error('the process has ended');
  return {
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  };
}
