import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { HostPair } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./anomalies.py', import.meta.url));

/** Anomalies of all kinds between the two, from a to b, and on the node's loopback device, until disposed. */
export async function provokeAnomalies({ a, b, addressB }: HostPair): Promise<AsyncDisposable> {
  // A process group, because the program forks.
  const child = spawn('python3', ['-u', PROGRAM, a.netns.name, b.netns.name, addressB.ipv4], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const isReady = await Promise.race([
    new Promise((resolve) => child.stdout.once('data', () => resolve(true))),
    gone.then(() => false),
  ]);
  if (isReady !== true) throw new Error('no anomalies: the program ended');
  return {
    [Symbol.asyncDispose]: async () => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
      await gone;
    },
  };
}
