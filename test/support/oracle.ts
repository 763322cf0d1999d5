import { setTimeout as wait } from 'node:timers/promises';

const TRIES = 10;
const SETTLE_MS = 30;

const LOOK_MS = { min: 20, max: 200 };

/**
 * Reads the oracle and the agent at the same moment. A namespace is never quite still: the oracle is read, then the
 * agent, then the oracle again, until both readings of the oracle are equal.
 */
export async function readBoth<Oracle, Ours>(
  readOracle: () => Oracle | Promise<Oracle>,
  readOurs: () => Promise<Ours>,
): Promise<{ oracle: Oracle; ours: Ours }> {
  for (let tries = 0; tries < TRIES; tries++) {
    const before = JSON.stringify(await readOracle());
    const ours = await readOurs();
    // The kernel frees our netlink socket a moment after it is closed, and counts it until then.
    await wait(SETTLE_MS);
    const oracle = await readOracle();
    if (JSON.stringify(oracle) === before) return { oracle, ours };
    await wait(100);
  }
  throw new Error(`the oracle did not give the same twice in ${TRIES} tries`);
}

/**
 * Waits until a check holds. A check often reads a whole page: the longer it takes to come true, the rarer are the tries, and no more than
 * half of the time is spent on them.
 *
 * @throws with the last failure after the deadline
 */
export async function eventually<T>(what: () => Promise<T> | T, deadlineMs = 60_000): Promise<T> {
  const startMs = performance.now();
  for (;;) {
    const lookMs = performance.now();
    try {
      return await what();
    } catch (error) {
      const nowMs = performance.now();
      if (nowMs > startMs + deadlineMs) throw error;
      await wait(Math.min(LOOK_MS.max, Math.max(LOOK_MS.min, nowMs - lookMs, (nowMs - startMs) / 10)));
    }
  }
}

/** Tries again: traffic that the kernel itself sends in a young namespace, such as router solicitations, may come in between. */
export async function retry<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 8; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

/**
 * For tests of events caused by a timer, and so in whatever process the CPU is running just then. Some sandbox kernels
 * run no BPF program while process 1 runs: of 200 keepalives that ended a connection on such a busy machine, the kernel's own counters had
 * all and its tracepoints 199. No loaded program sees the missing one, so the test tries once more.
 */
export const BY_TIMER = { retry: 1 };
