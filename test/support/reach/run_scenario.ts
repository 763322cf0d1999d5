import { spawn } from 'node:child_process';
import type { Evidence, Verdict } from '#why/evidence.ts';
import { BIN } from '../agent_process.ts';
import type { ReachBed } from './bed.ts';
import type { ReachScenario } from './scenario.ts';

export interface ReachAnswer {
  readonly code: number | null;
  readonly stderr: string;
  readonly stdout: string;
  readonly verdict: Verdict;
  readonly evidence: Evidence;
  readonly steps: readonly { readonly atMs: number; readonly text: string }[];
}

/** Runs `netsonde reach` in a process of its own. */
export async function runReach(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  wrapper: readonly string[] = [],
): Promise<Pick<ReachAnswer, 'code' | 'stdout' | 'stderr'>> {
  const [command = BIN, ...rest] = [...wrapper, BIN, 'reach', ...args];
  const child = spawn(command, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data) => {
    stdout += String(data);
  });
  child.stderr.on('data', (data) => {
    stderr += String(data);
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}

/** Causes a fault, asks `netsonde reach` from the client, and ends the fault. */
export async function runScenario(
  bed: ReachBed,
  { provoke, mend, args }: ReachScenario,
  agent: readonly string[],
): Promise<ReachAnswer> {
  try {
    provoke?.(bed);
    const from = ['--netns', bed.hosts.a.name];
    const done = await runReach([...from, ...args, ...agent, '-o', 'json'], { NODE_EXTRA_CA_CERTS: bed.authority });
    if (done.stdout === '') throw new Error(done.stderr);
    return { ...done, ...(JSON.parse(done.stdout) as Pick<ReachAnswer, 'verdict' | 'evidence' | 'steps'>) };
  } finally {
    mend?.(bed);
  }
}
