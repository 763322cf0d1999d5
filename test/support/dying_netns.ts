import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./dying_netns.py', import.meta.url));
/** Number of datagrams that are lost in each lossy namespace. */
export const LOST = 10;

export interface DyingNetns {
  /** Prefix of the names. A number is appended, starting with 0. */
  readonly prefix: string;
  readonly count: number;
  /** The first namespace and every `losesEvery`-th namespace after it lose datagrams. */
  readonly losesEvery: number;
  readonly lifeSeconds: number;
  /** Namespaces per second. */
  readonly rate: number;
}

/** Creates and removes named network namespaces, and waits until all of them are removed. @throws if that fails */
export async function liveAndDie({ prefix, count, losesEvery, lifeSeconds, rate }: DyingNetns): Promise<void> {
  const args = [PROGRAM, prefix, count, losesEvery, lifeSeconds, rate].map(String);
  const child = spawn('python3', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the namespaces did not live and die: exit code ${code}`);
}
