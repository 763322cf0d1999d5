import { expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { eventually } from '../support/oracle.ts';
import { wakeUpsASecond } from '../support/wake_ups.ts';

/**
 * A single timer of 25 ms would cause forty wakeups per second. Activity elsewhere on the machine also causes wakeups,
 * but not continuously.
 */
const WAKE_UPS_MAX = 25;
const PATIENCE_MS = 100_000;

it('an agent without events rests', async () => {
  await using agent = await AgentProcess.serve();
  await eventually(async () => expect(await wakeUpsASecond(agent.pid)).toBeLessThan(WAKE_UPS_MAX), PATIENCE_MS);
});
