import { setTimeout as wait } from 'node:timers/promises';

const TRIES = 10;
const SETTLE_MS = 30;

const LOOK_MS = { min: 20, max: 200 };

/**
 * Reads the oracle and the agent at the same moment. A namespace is never completely idle, so the function reads the
 * oracle both before and after the agent, and repeats this until both readings of the oracle agree.
 */
export async function readBoth<Oracle, Ours>(
  readOracle: () => Oracle | Promise<Oracle>,
  readOurs: () => Promise<Ours>,
): Promise<{ oracle: Oracle; ours: Ours }> {
  for (let tries = 0; tries < TRIES; tries++) {
    const before = JSON.stringify(await readOracle());
    const ours = await readOurs();
    // The kernel frees the agent's closed netlink socket asynchronously, and the oracle counts it until then.
    await wait(SETTLE_MS);
    const oracle = await readOracle();
    if (JSON.stringify(oracle) === before) return { oracle, ours };
    await wait(100);
  }
  throw new Error(`the oracle did not give the same twice in ${TRIES} tries`);
}

/**
 * Repeats a check until it succeeds. Checks often read a whole page, so the pauses grow, and each pause is at least as
 * long as the check itself.
 *
 * @throws the error of the last attempt, if the deadline has passed
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

/**
 * Retries an attempt. The kernel sends its own packets in a new namespace, such as router solicitations, which may
 * disturb a check.
 */
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
 * Option for tests of events that are caused by timers, which run in the context of any process. Some sandbox kernels
 * run no BPF programs in the context of process 1. On such a machine, keepalives ended 200 connections. The kernel's
 * counters included all of them, but its tracepoints fired only 199 times. No BPF program can see the missing event, so
 * the test is retried once.
 */
export const BY_TIMER = { retry: 1 };
