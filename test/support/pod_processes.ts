import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { TestNetns } from './hosts.ts';

export interface PodProcess extends AsyncDisposable {
  readonly pid: number;
}

/**
 * A process in a cgroup and in a network namespace, like a container's first program: it executes a program when it is in both. Without a
 * namespace it stays in that of the test; `new` gives it its own, which is not mounted anywhere.
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

/** A process that is in no Pod's cgroup. */
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
