import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { HostPair } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./anomalies.py', import.meta.url));

/** Causes anomalies of all kinds from a to b, and on the node's loopback device, until disposed. */
export async function provokeAnomalies({ a, b, addressB }: HostPair): Promise<AsyncDisposable> {
  // The program forks, so it needs its own process group.
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
