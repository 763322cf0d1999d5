import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

const WINDOW_MS = 4_000;

/** Returns the number of voluntary context switches of all threads of a process (man 5 proc, status). */
function waits(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.reduce((sum, task) => {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8');
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1]);
  }, 0);
}

/** Returns the number of voluntary context switches of a process per second. Each of them is followed by a wake-up. */
export async function wakeUpsASecond(pid: number): Promise<number> {
  const startMs = performance.now();
  const before = waits(pid);
  await wait(WINDOW_MS);
  return ((waits(pid) - before) * 1_000) / (performance.now() - startMs);
}
