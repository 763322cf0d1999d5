import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./dying_netns.py', import.meta.url));
/** Datagrams that those lose that lose any. */
export const LOST = 10;

export interface DyingNetns {
  /** Names are this and a number from 0 on. */
  readonly prefix: string;
  readonly count: number;
  /** Each so many-th loses something, from the first on. */
  readonly losesEvery: number;
  readonly lifeSeconds: number;
  /** How many are made a second. */
  readonly rate: number;
}

/** Named network namespaces that are made and removed one after the other; resolves once all are gone. @throws where that fails */
export async function liveAndDie({ prefix, count, losesEvery, lifeSeconds, rate }: DyingNetns): Promise<void> {
  const args = [PROGRAM, prefix, count, losesEvery, lifeSeconds, rate].map(String);
  const child = spawn('python3', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the namespaces did not live and die: exit code ${code}`);
}
