import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./dying_netns.py', import.meta.url));
/** Datagrams lost by each namespace that loses any. */
export const LOST = 10;

export interface DyingNetns {
  /** Prefix of the names, to which a number from 0 on is appended. */
  readonly prefix: string;
  readonly count: number;
  /** Interval at which a namespace loses datagrams: each `losesEvery`-th, from the first on. */
  readonly losesEvery: number;
  readonly lifeSeconds: number;
  /** Namespaces made per second. */
  readonly rate: number;
}

/** Makes and removes named network namespaces one after the other; resolves once all are gone. @throws where that fails */
export async function liveAndDie({ prefix, count, losesEvery, lifeSeconds, rate }: DyingNetns): Promise<void> {
  const args = [PROGRAM, prefix, count, losesEvery, lifeSeconds, rate].map(String);
  const child = spawn('python3', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the namespaces did not live and die: exit code ${code}`);
}
