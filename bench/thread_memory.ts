import { fileURLToPath } from 'node:url';
import type { AgentProcess } from '../test/support/agent_process.ts';
import { eventually } from '../test/support/oracle.ts';

const PROBE = fileURLToPath(new URL('./memory_probe.mjs', import.meta.url));

/** V8's memory of a thread, in bytes. */
export interface ThreadMemory {
  /** Resident memory of the heap. */
  readonly heap: number;
  /** Size of the objects in the heap. */
  readonly used: number;
  readonly malloced: number;
  readonly arrayBuffers: number;
}

/**
 * Returns the environment variables with which an agent reports the memory of its threads ({@link threadsOf}).
 * @param collects whether the threads collect their garbage before each report
 */
export function memoryProbe(collects = false): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import=${PROBE}`, ...(collects ? { MEMORY_PROBE: 'collect' } : {}) };
}

const ATTEMPTS = 5;

/**
 * Requests a report from each thread of an agent that was started with {@link memoryProbe}. Requests again if a thread
 * does not report within a minute, because the agent replaces its kernel thread if it hangs on a very busy machine.
 */
export async function threadsOf(agent: AgentProcess): Promise<Readonly<Record<'main' | 'kernel', ThreadMemory>>> {
  for (let left = ATTEMPTS; ; left--) {
    try {
      return await reportOf(agent);
    } catch (error) {
      if (left === 1) throw error;
    }
  }
}

async function reportOf(agent: AgentProcess): Promise<Readonly<Record<'main' | 'kernel', ThreadMemory>>> {
  const from = agent.stderr.length;
  process.kill(agent.pid, 'SIGUSR2');
  const read = (name: string): ThreadMemory => {
    const found = new RegExp(`^memory ${name} (\\d+) (\\d+) (\\d+) (\\d+)$`, 'm').exec(agent.stderr.slice(from));
    if (found === null) throw new Error(`the ${name} thread has not reported: ${agent.stderr.slice(from)}`);
    const [heap = 0, used = 0, malloced = 0, arrayBuffers = 0] = found.slice(1).map(Number);
    return { heap, used, malloced, arrayBuffers };
  };
  return eventually(() => ({ main: read('main'), kernel: read('kernel') }));
}
